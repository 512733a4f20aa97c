import json
import re

import pytest

from pipelines.logs import criteo
from pipelines.logs.columns import Columns, DaysBy
from pipelines.logs.columns_file import load_columns
from tfdlrm.base.errors import InputError

EVERYTHING = """
format: tsv
separator: ";"
names: [clicked, price, age, user, tags, country, ts, unused]
label: {name: clicked, positive: yes}
dense: [price, {name: age, transform: none}]
categorical:
  - user
  - {name: tags, separator: "|"}
  - {name: country}
split: {time: ts, unit: ms}
"""


def test_everything_that_can_be_said_is_read(load):
    columns = load(EVERYTHING.replace("positive: yes", "positive: 'yes'"))
    assert columns == Columns(
        label="clicked",
        dense_features=("price", "age"),
        single_hot=("user", "country"),
        multi_hot=("tags",),
        positive="yes",
        untransformed=("age",),
        separators=("|",),
        format="tsv",
        separator=";",
        names=("clicked", "price", "age", "user", "tags", "country", "ts", "unused"),
        days_by=DaysBy("ts", "time", "ms"),
        floats_as_integers=True,
    )
    assert columns.categorical_features == ("user", "country", "tags")


@pytest.mark.parametrize(
    ("file_format", "separator"), [("csv", ","), ("tsv", "\t"), ("parquet", "")]
)
def test_each_format_has_its_separator(load, file_format, separator):
    assert (
        load(f"{{format: {file_format}, label: y, dense: [a]}}").separator == separator
    )


def test_quotes_and_escapes_are_read(load):
    columns = load("""{format: tsv, label: y, dense: [a], quote: '"', escape: '\\'}""")
    assert (columns.quote, columns.escape) == ('"', "\\")
    assert columns.quote_mark == b'"'
    assert Columns.from_json(json.loads(json.dumps(columns.to_json()))) == columns
    none = load("{label: y, dense: [a], quote: none, escape: none}")
    assert (none.quote_mark, none.escape) == (None, None)
    assert load("{label: y, dense: [a]}").quote_mark == b'"'
    assert load("{format: tsv, label: y, dense: [a]}").quote_mark is None


@pytest.mark.parametrize("file_format", ["csv", "tsv"])
def test_descriptions_of_earlier_versions_mean_what_they_did(load, file_format):
    fields = load(f"{{format: {file_format}, label: y, dense: [a]}}").to_json()
    fields.pop("quote", None)
    columns = Columns.from_json(fields)
    assert columns.quote_mark == b'"'
    assert columns.to_json() == {
        **fields,
        **({"quote": '"'} if file_format == "tsv" else {}),
    }


def test_columns_of_one_kind_are_enough(load):
    assert load("{label: y, dense: [a]}").categorical_features == ()
    assert load("{label: y, categorical: [b]}").dense_features == ()
    bags = "{label: y, format: parquet, categorical: [{name: b, multi_hot: true}]}"
    assert load(bags).separators == (None,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns.yaml is null, expected a mapping of format, separator"),
        ("{label: y", "columns.yaml is not YAML: "),
        (f"{{label: {'9' * 5000}}}", "columns.yaml is not YAML: "),
        ("{label: 2024-13-45}", "columns.yaml is not YAML: month must be in"),
        ("{label: y, dense: [a], quote: single}", "quote is 'single', expected one of"),
        ("{label: y, dense: [a], quote: ~}", "quote is null, expected one of none, "),
        ("{label: y, dense: [a], escape: xx}", "escape is 'xx', expected none, or one"),
        ("{label: y, dense: [a], escape: ','}", "escape is ',', expected no quote, se"),
        ("{label: y, dense: [a], escape: n}", "that is no letter or digit"),
        ("{label: y, dense: [a], separator: '\"'}", "expected no quote or line end"),
        ("{format: parquet, label: y, dense: [a], quote: none}", "has no quotes"),
        ("{format: parquet, label: y, dense: [a], escape: '|'}", "none for parquet"),
        ("{dense: [a]}", "label is missing"),
        ("{label: y}", "dense names no feature, nor does categorical"),
        ("{label: y, dense: [], categorical: []}", "names no feature"),
        ("{label: y, dens: [a]}", "dens is unknown, expected a mapping of format"),
        ("{label: {name: y, positiv: 1}, dense: [a]}", "label.positiv is unknown"),
        ("{label: {positive: 1}, dense: [a]}", "label.name is missing"),
        *(
            (
                f"{{label: {{name: y, positive: {value}}}, dense: [a]}}",
                f"label.positive is {parsed}, expected text; put it in quotes",
            )
            for value, parsed in (("yes", "true"), ("true", "true"), ("1.0", "1.0"))
        ),
        ("{label: y, dense: a}", "dense is 'a', expected a list"),
        ("{label: y, dense: [1]}", r"dense\[0\] is 1, expected a mapping"),
        ("{label: y, dense: [a, a]}", "a is named twice"),
        ("{label: y, dense: [a], categorical: [a]}", "a is named twice"),
        ("{label: y, dense: [y]}", "y is named twice"),
        (
            "{label: y, dense: [{name: a, transform: ln}]}",
            "expected one of log, none, st",
        ),
        (
            "{label: y, dense: [a], dense: [b]}",
            "line 1: the key 'dense' is there twice",
        ),
        ("{format: xml, label: y, dense: [a]}", "format is 'xml', expected one of csv"),
        ("{separator: ab, label: y, dense: [a]}", "expected one ASCII character"),
        ("{label: y, categorical: [{name: a, multi_hot: true}]}", "has no separator"),
        (
            "{label: y, categorical: [{name: a, multi_hot: false, separator: x}]}",
            "expected true with a separator",
        ),
        ("{label: y, dense: [a], split: {}}", "either day or time"),
        ("{label: y, dense: [a], split: {day: d, time: t}}", "either day or time"),
        ("{label: y, dense: [a], split: {day: d, unit: s}}", "with time only"),
        ("{label: y, dense: [a], split: {time: d, unit: h}}", "one of s, ms, us"),
        ("{label: y, dense: [a], names: [a, b]}", "names lacks y"),
        ("{label: y, dense: [a], names: [a, y, a]}", "a is named twice"),
        ("{format: parquet, names: [a], label: y, dense: [a]}", "none for parquet"),
        ("{label: y, dense: [/time]}", "/time cannot be the name of a feature"),
        ("{label: y, categorical: [label]}", "label cannot be the name of a feature"),
    ],
)
def test_a_bad_description_is_refused_by_file_and_key(load, text, message):
    with pytest.raises(InputError, match=message) as raised:
        load(text)
    assert re.match(r".*/columns\.yaml", str(raised.value))
    assert "\n" not in str(raised.value)


def test_a_missing_description_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml cannot be read: No such file"):
        load_columns(tmp_path / "none.yaml")


def test_columns_travel_as_json(load):
    columns = load(EVERYTHING.replace("positive: yes", "positive: 1"))
    assert columns.positive == "1"
    assert Columns.from_json(json.loads(json.dumps(columns.to_json()))) == columns
    assert Columns.from_json(Columns.criteo().to_json()) == Columns.criteo()


def test_criteos_columns_are_those_of_its_files():
    columns = Columns.criteo()
    assert columns.is_criteo
    assert (columns.label, *columns.features) == criteo.column_names(labelled=True)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("{lable: y, dense: [a]}", "label"),
        ("{label: y, dence: [a]}", "dense"),
        ("{label: {name: y, postive: 'yes'}, dense: [a]}", "positive"),
        ("{label: y, format: parqet, dense: [a]}", "parquet"),
        ("{label: y, dense: [price], names: [prize, y]}", "prize"),
    ],
)
def test_the_nearest_key_is_named(load, text, meant):
    with pytest.raises(InputError, match=f"did you mean {meant}\\?"):
        load(text)
