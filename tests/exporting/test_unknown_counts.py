"""The counts of unknown values of a served graph, against plain Python."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from pipelines.logs import criteo
from pipelines.prepare import prepare
from tests.support.own_log import CONFIG, DESCRIPTION, ROWS, write_log
from tests.support.raw_rows import make_rows, write_rows
from tests.support.served import Served, example
from tfdlrm.config import PrepareConfig
from tfdlrm.config.models import LogisticRegressionConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.unknown_values import usual_shares
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.models import build_model

NAMES = criteo.DENSE_FEATURES + criteo.CATEGORICAL_FEATURES
CATEGORIES = criteo.CATEGORICAL_FEATURES


def exported(raw, directory, config):
    """An untrained model, as a server loads it, and its data set."""
    data_dir = directory / "data"
    prepare([raw], data_dir, config)
    schema = FeatureSchema.load(data_dir)
    model = build_model(schema, LogisticRegressionConfig())
    return Served(export_model(model, schema, data_dir, directory / "m")), data_dir


def known_values(data_dir, name):
    return set(pl.read_parquet(data_dir / "vocabulary" / f"{name}.parquet")["value"])


def columns_of(rows):
    fields = [row.decode().split("\t")[1:] for row in rows]
    return dict(zip(NAMES, map(list, zip(*fields, strict=True)), strict=True))


@pytest.mark.parametrize(
    "config",
    [
        PrepareConfig(min_frequency=5),
        pytest.param(PrepareConfig(dialect="facebook"), marks=pytest.mark.slow),
        PrepareConfig(dialect="facebook", max_index_range=20),
    ],
    ids=str,
)
def test_raw_unknown_counts_what_is_in_no_vocabulary(tmp_path, config):
    raw = write_rows(tmp_path / "log.tsv", make_rows(300))
    served, data_dir = exported(raw, tmp_path, config)
    columns = columns_of(make_rows(60, seed=1))
    columns["C1"][:3] = ["0", "1", "7"]
    answer = served("raw_unknown", **columns)
    modulus = config.max_index_range or 2**32
    for position, name in enumerate(CATEGORIES):
        values = known_values(data_dir, name)
        expected = [
            text != "" and int(text, 16) % modulus not in values
            for text in columns[name]
        ]
        np.testing.assert_array_equal(answer["unknown"][:, position], expected)
    assert (answer["values"] == 1).all()
    probabilities = served.probabilities("raw", **columns)
    np.testing.assert_array_equal(answer["probability"].ravel(), probabilities)


def test_nothing_is_unknown_where_values_are_hashed(tmp_path):
    raw = write_rows(tmp_path / "log.tsv", make_rows(300))
    config = PrepareConfig(dialect="hash", hash_buckets=30)
    served, _ = exported(raw, tmp_path, config)
    answer = served("raw_unknown", **columns_of(make_rows(20, seed=1)))
    assert not answer["unknown"].any()


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    directory = tmp_path_factory.mktemp("own")
    (directory / "columns.yaml").write_text(DESCRIPTION)
    config = replace(CONFIG, columns=directory / "columns.yaml")
    return exported(write_log(directory / "log.csv", ROWS), directory, config)


def test_values_of_bags_are_counted_one_by_one(own):
    served, _ = own
    answer = served(
        "raw_unknown",
        price=["1", "2", "3"],
        age=["", "", ""],
        user=["u1", "U1", ""],
        tags=["news|NEWS|News", "", "news"],
        shops=["", "3 -3", ""],
    )
    assert answer["unknown"].tolist() == [[0, 2, 0], [1, 0, 1], [0, 0, 0]]
    assert answer["values"].tolist() == [[1, 3, 1], [1, 1, 2], [1, 1, 1]]


def test_coverage_names_each_column_and_its_usual_share(own):
    served, data_dir = own
    answer = served("coverage", number=[2, 0, 1])
    assert [name.decode() for name in answer["name"]] == ["shops", "user", "tags"]
    usual = usual_shares(data_dir)
    expected = [usual[name] for name in ("shops", "user", "tags")]
    np.testing.assert_allclose(answer["unknown_share"], expected, rtol=1e-6)


def test_counts_are_no_outputs_of_the_signatures_that_clients_know(own):
    served, _ = own
    outputs = {
        name: sorted(definition.outputs)
        for name, definition in served.signatures.items()
        if not name.startswith("__")
    }
    assert outputs == {
        "serving_default": ["probability"],
        "raw": ["probability"],
        "tf_example": ["probability"],
        "classify": ["classes", "scores"],
        "regress": ["outputs"],
        "raw_unknown": ["probability", "unknown", "values"],
        "coverage": ["name", "unknown_share"],
    }
    inputs = [example({"user": "U1", "tags": ["news"]})]
    assert served.probabilities("tf_example", examples=inputs).shape == (1,)
