"""The values of a label: counted, reported, and refused if their meaning is unknown."""

from collections import Counter

import polars as pl
import pytest

from pipelines.logs.columns import Columns
from pipelines.logs.columns_file import load_columns
from pipelines.logs.json_rows import JsonRows
from pipelines.logs.label_values import MAX_VALUES, REST, count_labels, describe_labels
from pipelines.logs.opening import open_log
from pipelines.logs.text_log import TextLog
from pipelines.prepare import prepare
from tests.support.log_files import read, write
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.schema import FeatureSchema

YES = Columns("y", ("a",), (), positive="yes")


def log_text(labels):
    return "y,a\n" + "".join(f"{label},1\n" for label in labels)


def make(directory, label, logs, **settings):
    """Prepare a log file for each list of labels, and return the schema."""
    directory.mkdir(exist_ok=True)
    (directory / "columns.yaml").write_text(f"{{label: {label}, dense: [a]}}")
    raw = [
        write(directory / f"{number}.csv", log_text(labels))
        for number, labels in enumerate(logs)
    ]
    settings = {"validation_days": 0, "test_days": 0, **settings}
    config = PrepareConfig(columns=directory / "columns.yaml", **settings)
    return prepare(raw, directory / "data", config)


@pytest.mark.parametrize("others", [["Yes"], ["yes "], ["1", "1.0"]])
def test_a_third_value_is_refused_with_all_counts(tmp_path, others):
    path = write(tmp_path / "log.csv", log_text(["yes"] * 3 + ["no"] * 2 + others))
    with pytest.raises(InputError, match="has more than two values") as error:
        read(open_log(path, YES))
    message = str(error.value)
    for part in (str(path), "'yes' in 3 rows", "'no' in 2 rows", "negative: others"):
        assert part in message
    for value in others:
        assert f"{value!r} in 1 row" in message


def test_a_word_for_a_missing_label_is_explained(tmp_path):
    path = write(tmp_path / "log.csv", log_text(["yes", "no", "NA"]))
    with pytest.raises(InputError, match="missing value, list it as `missing`"):
        read(open_log(path, YES))


def test_a_third_value_ends_the_reading_where_it_comes(tmp_path):
    labels = [*["yes", "no"] * 2000, "Yes", *["yes", "no"] * 2000]
    path = write(tmp_path / "log.csv", log_text(labels))
    log = TextLog(path, YES, chunk_bytes=2000)
    with pytest.raises(InputError, match="'Yes' in 1 row"):
        list(log)
    assert sum(log.skipped.labels.values()) < 5000


def test_a_third_value_in_another_file_is_refused_too(tmp_path):
    label = "{name: y, positive: 'yes'}"
    with pytest.raises(InputError, match="'yes' in 2 rows, 'No' in 1 row, 'no' in 1"):
        make(tmp_path, label, [["yes", "no"], ["yes", "No"]])


def test_two_values_and_missing_words_are_enough(tmp_path):
    path = write(tmp_path / "log.csv", log_text(["yes", "no", "NA"]))
    columns = Columns("y", ("a",), (), positive="yes", missing={"y": ("NA",)})
    log = open_log(path, columns, "skip")
    assert read(log)["y"] == [1, 0]
    assert log.skipped.labels == {"yes": 1, "no": 1}


def test_others_may_be_said_to_mean_0(tmp_path, capsys):
    label = "{name: y, positive: 'yes', negative: others}"
    schema = make(tmp_path, label, [["yes", "no", "Yes"], ["maybe", "no"]])
    assert schema.num_rows("train") == 5
    assert schema.columns["negative"] == "others"
    counts = (
        "'no' in 2 rows, 'Yes' in 1 row, 'maybe' in 1 row, 'yes' (means 1) in 1 row"
    )
    assert f"label y: {counts}" in capsys.readouterr().out


@pytest.mark.parametrize("negative", ["'no'", "['no']", "['no', '-1']"])
def test_labels_that_are_neither_are_bad_rows(tmp_path, negative):
    label = f"{{name: y, positive: 'yes', negative: {negative}}}"
    with pytest.raises(InputError, match="row 4: column 'y' is 'Yes', expected 'yes'"):
        make(tmp_path, label, [["yes", "no", "Yes"]])
    schema = make(tmp_path, label, [["yes", "no", "Yes"]], on_bad_row="skip")
    assert schema.num_rows("train") == 2


def test_the_value_that_was_found_to_mean_0_is_held_to_later(tmp_path):
    schema = make(tmp_path, "{name: y, positive: 'yes'}", [["yes", "no"], ["no"]])
    columns = Columns.from_json(FeatureSchema.load(tmp_path / "data").columns)
    assert columns.negative == ("no",)
    assert schema.positives == {"train": 1, "validation": 0, "test": 0}
    frame, bad = JsonRows(columns).read([b'{"y": "no"}', b'{"y": "Yes"}', b'{"y": 0}'])
    assert frame["y"].to_list() == [0]
    assert bad[1] == "'y' is 'Yes', expected 'yes' or 'no'"
    assert set(bad) == {1, 2}


@pytest.mark.parametrize("positive", ["True", "true", "TRUE"])
def test_booleans_of_events_are_those_of_the_description(positive):
    columns = Columns("y", ("a",), (), positive=positive)
    events = [b'{"y": true}', b'{"y": false}']
    frame, bad = JsonRows(columns).read(events)
    assert not bad
    assert frame["y"].to_list() == [1, 0]


@pytest.mark.parametrize("label", ["-1", "2", "0.5", "yes", "nan", "01", " 1"])
def test_without_a_positive_value_only_0_and_1_are_labels(tmp_path, label):
    path = write(tmp_path / "log.csv", log_text(["1", "0", label]))
    with pytest.raises(InputError, match=r"label\.positive and label\.neg"):
        read(open_log(path, Columns("y", ("a",), ())))


def test_a_positive_value_that_no_row_has_is_reported(tmp_path, capsys):
    make(tmp_path, "{name: y, positive: 'Yes'}", [["yes", "no", "no"]])
    counts = "'no' in 2 rows, 'yes' in 1 row, 'Yes' (means 1) in no row"
    assert counts in capsys.readouterr().out


def test_minus_one_may_mean_0(tmp_path):
    schema = make(tmp_path, "{name: y, positive: 1, negative: -1}", [["1", "-1", "-1"]])
    assert schema.positives["train"] == 1
    with pytest.raises(InputError, match="'0' in 1 row"):
        make(tmp_path / "more", "{name: y, positive: 1}", [["1", "-1", "0"]])


def test_the_values_of_a_plain_label_are_told(tmp_path, capsys):
    make(tmp_path, "y", [["1", "true", "0", "0"]])
    assert (
        "label y: '0' in 2 rows, '1' in 1 row, 'true' in 1" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("{name: y, negative: 'no'}", "negative is given without positive"),
        (
            "{name: y, positive: 'yes', negative: no}",
            "negative is false, expected text",
        ),
        ("{name: y, positive: 'yes', negative: []}", "expected one or more other"),
        ("{name: y, positive: 'yes', negative: 'yes'}", "expected one or more other"),
    ],
)
def test_a_description_of_labels_that_cannot_be_is_refused(tmp_path, label, message):
    path = tmp_path / "columns.yaml"
    path.write_text(f"{{label: {label}, dense: [a]}}")
    with pytest.raises(InputError, match=message):
        load_columns(path)


def test_many_values_are_counted_in_bounded_memory():
    counts: Counter[str] = Counter()
    count_labels(counts, pl.Series([str(number) for number in range(500)]))
    count_labels(counts, pl.Series(["0"] * 7))
    assert len(counts) <= MAX_VALUES + 1
    assert counts.total() == 507
    assert counts[REST] == 400
    assert "other values in 4" in describe_labels(counts, YES)
