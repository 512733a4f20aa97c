"""What is said about a log that came without a description of its columns."""

import gzip

import polars as pl
import pytest
import yaml

from pipelines.logs.columns_file import load_columns
from pipelines.logs.own_log import advice
from pipelines.prepare import prepare
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig

SHOP = """user_id,item,price,balance,genres,clicked,day
u1,i1,3.5,-1,War|Musical,1,1
u2,i2,2.0,3,War,0,1
u1,i3,,4,Drama,0,2
u3,i1,1.5,5,,1,2
"""
DESCRIPTION = {
    "label": "clicked",
    "dense": ["price", {"name": "balance", "transform": "none"}],
    "categorical": ["user_id", "item", {"name": "genres", "separator": "|"}],
}


def suggested(text):
    """Return the description in the advice about a log."""
    lines = text.encode().splitlines()
    return yaml.safe_load(advice(lines).partition("FILE could hold ")[2])


def refusal(path, output, **settings):
    with pytest.raises(InputError) as refused:
        prepare([path], output, PrepareConfig(**settings))
    message = str(refused.value)
    assert "--columns FILE" in message and "--prepare.columns FILE" in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("on_bad_row", ["stop", "skip"])
def test_the_smallest_description_of_a_log_prepares_it(tmp_path, on_bad_row):
    log, columns = tmp_path / "shop.csv", tmp_path / "columns.yaml"
    log.write_text(SHOP)
    message = refusal(log, tmp_path / "data", on_bad_row=on_bad_row)
    columns.write_text(message.partition("FILE could hold ")[2])
    config = PrepareConfig(columns=columns, min_frequency=1, days=4)
    schema = prepare([log], tmp_path / "data", config)
    assert yaml.safe_load(columns.read_text()) == DESCRIPTION
    assert schema.dense_features == ("price", "balance")
    assert [feature.name for feature in schema.categorical_features] == [
        "user_id",
        "item",
        "genres",
    ]


def test_a_compressed_log_is_described_too(tmp_path):
    log = tmp_path / "shop.csv.gz"
    log.write_bytes(gzip.compress(SHOP.encode()))
    message = refusal(log, tmp_path / "data")
    assert yaml.safe_load(message.partition("FILE could hold ")[2]) == DESCRIPTION


def test_a_parquet_log_is_described_by_its_columns(tmp_path):
    log, columns = tmp_path / "shop.parquet", tmp_path / "columns.yaml"
    frame = pl.DataFrame(
        {
            "item_id": [7, 8],
            "age": [31, 41],
            "tags": [["a"], []],
            "click": [True, False],
        }
    )
    frame.write_parquet(log)
    message = refusal(log, tmp_path / "data")
    columns.write_text(message.partition("FILE could hold ")[2])
    assert load_columns(columns).format == "parquet"
    assert yaml.safe_load(columns.read_text()) == {
        "format": "parquet",
        "label": "click",
        "dense": ["age"],
        "categorical": ["item_id", {"name": "tags", "multi_hot": True}],
    }


def test_text_without_a_head_line_has_numbered_names():
    assert suggested("1\tu1\t3.5\n0\tu2\t4\n") == {
        "format": "tsv",
        "names": ["column_1", "column_2", "column_3"],
        "label": "column_1",
        "dense": ["column_3"],
        "categorical": ["column_2"],
    }


def test_separators_quotes_and_labels_of_text_are_seen():
    text = 'price;"a, b";bought;itemId\n1;x;yes;3\n2;"y;z";no;4\n'
    assert suggested(text) == {
        "separator": ";",
        "label": {"name": "bought", "positive": "yes"},
        "dense": ["price"],
        "categorical": ["a, b", "itemId"],
    }


def test_a_log_without_a_likely_label_names_its_place():
    assert suggested("user,age\na,3\nb,4\n")["label"] == "NAME_OF_THE_LABEL"


def test_a_head_line_alone_is_no_row_of_criteos(tmp_path):
    log = tmp_path / "shop.csv"
    log.write_text(SHOP.partition("\n")[0] + "\n")
    assert "label: clicked" in refusal(log, tmp_path / "data")


def test_text_that_is_no_table_has_an_example_in_the_documentation(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"clicked": 1}\n{"clicked": 0}\n')
    assert "docs/own_data.md shows such a file" in refusal(log, tmp_path / "data")


def test_text_among_dense_columns_belongs_under_categorical(tmp_path):
    log, columns = tmp_path / "shop.csv", tmp_path / "columns.yaml"
    log.write_text(SHOP)
    columns.write_text("{label: clicked, dense: [item], categorical: [user_id]}")
    with pytest.raises(InputError, match=r"'item' .*: .* list it under categorical"):
        prepare([log], tmp_path / "data", PrepareConfig(columns=columns))
