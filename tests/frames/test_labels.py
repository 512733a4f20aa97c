"""Which of two values of a label means 1, and which labels are refused."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tfdlrm.base.errors import InputError
from tfdlrm.frames.encoder import FeatureEncoder
from tfdlrm.frames.training_rows import TrainingRows, labels_of

FEATURES = {"price": [1.0, 2.0, 3.0, 4.0]}


def rows_of(target, label=None, columns=None):
    return TrainingRows.of(FEATURES, target, columns, label)


@pytest.mark.parametrize(
    ("target", "classes", "entry"),
    [
        ([0, 1, 1, 0], [0, 1], "label"),
        ([False, True, True, False], [False, True], "label"),
        ([0.0, 1.0, 1.0, 0.0], [0.0, 1.0], "label"),
        (["0", "1", "1", "0"], ["0", "1"], "label"),
        (["false", "true", "true", "false"], ["false", "true"], "label"),
        (["no", "yes", "yes", "no"], ["no", "yes"], ("yes", "no")),
        ([-1, 1, 1, -1], [-1, 1], ("1", "-1")),
        ([1, 2, 2, 1], [1, 2], ("2", "1")),
        ([1.5, 2.5, 2.5, 1.5], [1.5, 2.5], ("2.5", "1.5")),
        (np.array([b"no", b"yes", b"yes", b"no"]), ["no", "yes"], ("yes", "no")),
        (np.array([0, 1, 1, 0], np.uint8)[:, None], [0, 1], "label"),
        (pl.Series([0, 1, 1, 0]), [0, 1], "label"),
        (pl.DataFrame({"clicked": [0, 1, 1, 0]}), [0, 1], "label"),
        (pd.DataFrame({"clicked": [0, 1, 1, 0]}), [0, 1], "label"),
    ],
)
def test_the_second_class_in_order_means_1(target, classes, entry):
    rows = rows_of(target)
    assert rows.classes.values.tolist() == classes
    if isinstance(entry, tuple):
        entry = {"name": "label", "positive": entry[0], "negative": entry[1]}
    assert rows.description["label"] == entry
    expected = [0, 1, 1, 0]
    assert labels_of(None, target, rows.classes, "label").tolist() == expected


@pytest.mark.parametrize("dtype", ["category", "string", "object", "string[pyarrow]"])
def test_labels_of_pandas_are_a_column_or_come_apart(dtype):
    labels = pd.Series(["no", "yes", "yes", "no"], dtype=dtype, name="clicked")
    apart = TrainingRows.of(FEATURES, labels, None, None)
    inside = TrainingRows.of({**FEATURES, "clicked": labels}, None, None, "clicked")
    for rows in (apart, inside):
        assert rows.classes.values.tolist() == ["no", "yes"]
        assert rows.description["label"]["name"] == "clicked"
        assert rows.table.column_names == ["clicked", "price"]
        assert rows.feature_names == ("price",)


def test_a_nullable_label_without_missing_values_is_a_label():
    for dtype, values in (("Int64", [0, 1, 1, 0]), ("boolean", [False, True] * 2)):
        labels = pd.Series(values, dtype=dtype)
        assert rows_of(labels).description["label"] == "label"


def test_positive_turns_the_classes():
    entry = {"name": "buys", "positive": "no"}
    rows = rows_of(["no", "yes", "yes", "no"], entry)
    assert rows.classes.values.tolist() == ["yes", "no"]
    assert rows.description["label"] == {**entry, "negative": "yes"}
    spelled = {"name": "buys", "positive": "False"}
    assert rows_of([False, True] * 2, spelled).classes.values.tolist() == [True, False]
    negative = {"name": "buys", "positive": "0", "negative": "1"}
    assert rows_of([0, 1, 1, 0], negative).classes.values.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([1, 1, 1, 1], "label 'label' has one class, 1, in all rows, expected two"),
        ([0, 1, 2, 1], "has 3 values, 0, 1, 2, expected two classes"),
        ([0.1, 0.2, 0.3, 0.4], r"has 4 values, 0\.1, 0\.2, .* Unknown label type"),
        ([0, None, 1, 1], r"is missing \(NaN, None or empty\) in row 1 \(from 0\),"),
        ([0, float("nan"), None, 1], "in row 1 .* and in 1 more rows"),
        (["no", "", "yes", "no"], "is missing .* in row 1"),
        ([0.0, np.inf, 1.0, 1.0], "label 'label' is inf"),
        ([0, "yes", 1, 1], "has 0 of type int in row 0 and 'yes' of type str in row 1"),
        ([0, 1, 1], "the frame has 4 rows and y has 3"),
        (np.zeros((4, 2)), r"label 'label' has the shape \(4, 2\)"),
        (pd.DataFrame(np.zeros((4, 2))), r"'label' has the shape \(4, 2\)"),
        ([[0], [1], [1], [0]], "expected numbers, booleans or text of two values"),
        ([datetime.datetime(2024, 1, 1 + day % 2) for day in range(4)], "is of type"),
        (7, "label 'label' is 7 of type int, expected a list"),
    ],
)
def test_what_is_no_label_is_refused(target, message):
    with pytest.raises(InputError, match=message):
        rows_of(target)


class OnlyAnArray:
    """What NumPy can turn into an array, and nothing more."""

    def __array__(self, dtype=None, copy=None):
        return np.array([0, 1, 1, 0], dtype)


def test_what_is_an_array_to_numpy_is_a_label():
    assert rows_of(OnlyAnArray()).classes.values.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"name": "b", "positive": "ja"}, r"label\.positive is 'ja', expected one of"),
        ({"name": "b", "positive": "yes", "negative": "nein"}, "negative is 'nein'"),
        ({"name": "b", "positive": "yes", "negative": "others"}, "expected one value"),
        ({"name": "b", "positve": "yes"}, r"label\.positve is unknown.*positive"),
        ("price", "y is given, and the frame has the label 'price' too"),
        ({"name": "b", "positive": True}, "positive is true, expected text"),
    ],
)
def test_an_entry_that_does_not_fit_is_refused(label, message):
    with pytest.raises(InputError, match=message):
        rows_of(["no", "yes", "yes", "no"], label)


def test_a_label_that_is_nowhere_is_refused():
    with pytest.raises(InputError, match="y is None, and the frame has no column"):
        rows_of(None, "clicked")


def test_other_labels_than_those_of_training_are_refused():
    classes = rows_of(["no", "yes", "yes", "no"]).classes
    message = r"row 1 \(from 0\): label 'label' is 'maybe', expected one of the classes"
    with pytest.raises(InputError, match=message):
        labels_of(None, ["no", "maybe"], classes, "label")


def test_an_encoder_wants_text_labels_described():
    frame = {**FEATURES, "b": ["no", "yes", "yes", "no"]}
    with pytest.raises(InputError, match="column 'b' is 'no', expected 0 or 1"):
        FeatureEncoder(label="b").adapt(frame).label(frame)
    encoder = FeatureEncoder(label={"name": "b", "positive": "yes"}).adapt(frame)
    assert encoder.label(frame).tolist() == [[0.0], [1.0], [1.0], [0.0]]
    more = {**FEATURES, "b": ["no", "yes", "perhaps", "no"]}
    with pytest.raises(InputError, match="'perhaps'"):
        encoder.label(more)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["2024-05-01", "soon", "2024-05-01", "2024-05-02"], "row 1 .*'ts' is 'soon'"),
        ([1714521600.0, None, 1.0, 2.0], "row 1 .*'ts' is missing"),
        ([["a"]] * 4, "'ts' is of type list<item: string>, expected a time"),
    ],
)
def test_times_that_split_rows_are_checked(times, message):
    columns = {"dense": ["price"], "split": {"time": "ts"}}
    frame = {**FEATURES, "ts": times}
    with pytest.raises(InputError, match=message):
        TrainingRows.of(frame, [0, 1, 0, 1], columns, None)


def test_times_with_zones_split_rows():
    columns = {"dense": ["price"], "split": {"time": "ts"}}
    times = pd.date_range("2024-05-01", periods=4, freq="D", tz="Asia/Kolkata")
    rows = TrainingRows.of({**FEATURES, "ts": times}, [0, 1, 0, 1], columns, None)
    assert rows.table.column_names == ["label", "price", "ts"]
    assert rows.feature_names == ("price", "ts")


def test_holding_out_all_rows_of_a_class_is_refused():
    rows = rows_of(["no", "no", "no", "yes"])
    message = "leaves the first 3 rows, which all have the label 'no'"
    with pytest.raises(InputError, match=message):
        rows.require_both_classes(0.25)
    rows_of(["no", "yes", "no", "yes"]).require_both_classes(0.25)
    rows.require_both_classes(0.0)
