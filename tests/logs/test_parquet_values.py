"""Values of Parquet, as pandas and databases write them, mean what text would."""

import datetime
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from pipelines.logs.columns import Columns, DaysBy
from pipelines.logs.opening import open_log
from pipelines.logs.parquet_log import ParquetLog
from pipelines.logs.value_texts import whole_number_texts
from pipelines.logs.values import TIME_KEY
from tests.support.log_files import read
from tfdlrm.base.errors import InputError

NAN = float("nan")


def log_of(path, array, dense=(), single=(), bags=(), **settings):
    """Write a log of labels and the column `x`."""
    labels = [number % 2 for number in range(len(array))]
    pa_parquet.write_table(pa.table({"y": labels, "x": array}), path)
    columns = Columns(
        "y", dense, single, bags, separators=(None,) * len(bags), format="parquet"
    )
    return open_log(path, Columns(**{**columns.__dict__, **settings}))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.parquet"


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1.5, NAN, None]), [1.5, None, None]),
        (pa.array([1.5, NAN], pa.float32()), [1.5, None]),
        (pa.array(np.array([1.5, NAN], np.float16)), [1.5, None]),
        (pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)), [1.5, None]),
        (pa.array([Decimal("1.50"), None], pa.decimal256(60, 2)), [1.5, None]),
        (pa.array([255, 0], pa.uint8()), [255.0, 0.0]),
        (pa.array([-3, None], pa.int8()), [-3.0, None]),
        (pa.array(["2.5", "", None]), [2.5, None, None]),
        (pa.array([b"2.5", b""]), [2.5, None]),
        (pa.array(["2.5", "3"]).dictionary_encode(), [2.5, 3.0]),
        (pa.array([True, False]), [1.0, 0.0]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_numbers_of_every_type_are_read(path, array, expected):
    assert read(log_of(path, array, dense=("x",)))["x"] == expected


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([7.0, NAN, None, -0.0]), ["7", None, None, "0"]),
        (pa.array([7.0, None], pa.float32()), ["7", None]),
        (pa.array([7, 2**64 - 1], pa.uint64()), ["7", str(2**64 - 1)]),
        (pa.array([7, None], pa.int8()), ["7", None]),
        (pa.array([Decimal(7), None], pa.decimal128(38, 0)), ["7", None]),
        (pa.array([Decimal(100), None], pa.decimal128(10, 0)), ["100", None]),
        (pa.array([Decimal("7.00"), Decimal("7.50")]), ["7", "7.5"]),
        (pa.array([Decimal("7.00")], pa.decimal256(60, 2)), ["7"]),
        (pa.array(["a", "", None]), ["a", None, None]),
        (pa.array([b"a", b""]), ["a", None]),
        (pa.array([b"ab", b"cd"], pa.binary(2)), ["ab", "cd"]),
        (pa.array(["a", None, ""]).dictionary_encode(), ["a", None, None]),
        (pa.array([7, 8]).dictionary_encode(), ["7", "8"]),
        (pa.array(["a"], pa.large_string()), ["a"]),
        (pa.array([True, None]), ["true", None]),
        (pa.array([datetime.date(2024, 5, 1)]), ["2024-05-01"]),
        (pa.array([datetime.date(2024, 5, 1)], pa.date64()), ["2024-05-01"]),
    ],
)
def test_categories_of_every_type_are_read(path, array, expected):
    assert read(log_of(path, array, single=("x",)))["x"] == expected


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)), [["1", "2"], ["3", "4"]]),
        (pa.array([["a", ""], [], None], pa.large_list(pa.string())), [["a"], [], []]),
        (pa.array([[7.0, NAN, None], [], None]), [["7"], [], []]),
        (pa.array([[7.0, NAN]], pa.list_(pa.float32(), 2)), [["7"]]),
        (pa.array([[Decimal("7.00"), None]]), [["7"]]),
        (pa.array([[b"a", b""], None]), [["a"], []]),
        (pa.array([[True], [None]]), [["true"], []]),
        (pa.nulls(2), [[], []]),
        (
            pa.ListArray.from_arrays(
                [0, 1, 2], pa.array(["a", "b"]).dictionary_encode()
            ),
            [["a"], ["b"]],
        ),
    ],
)
def test_lists_of_every_type_are_read(path, array, expected):
    assert read(log_of(path, array, bags=("x",)))["x"] == expected


def test_a_list_of_fixed_size_may_be_missing(path):
    lists = pl.Series([[7, None], None, [8, 9]], dtype=pl.Array(pl.Int64, 2))
    pl.DataFrame({"y": [0, 1, 1], "x": lists}).write_parquet(path)
    columns = Columns("y", (), (), ("x",), separators=(None,), format="parquet")
    log = ParquetLog(path, columns, chunk_rows=2)
    assert [frame.height for frame in log] == [2, 1]
    assert read(log) == {"y": [0, 1, 1], "x": [["7"], [], ["8", "9"]]}


@pytest.mark.parametrize(
    ("settings", "array", "row"),
    [
        ({"single": ("x",)}, pa.array([7.0, 7.5]), 2),
        ({"single": ("x",)}, pa.array([7.0, 2.0**53]), 2),
        ({"single": ("x",)}, pa.array([7.0, 2.0**24], pa.float32()), 2),
        ({"single": ("x",)}, pa.array([float("inf")]), 1),
        ({"single": ("x",)}, pa.array([b"a", b"\xff"]), 2),
        ({"bags": ("x",)}, pa.array([[7.0], [8.0, 7.5]]), 2),
        ({"bags": ("x",)}, pa.array([[b"\xff", b"a"], [b"a"]]), 1),
        ({"dense": ("x",)}, pa.array([1.0, float("-inf")]), 2),
        ({"dense": ("x",)}, pa.array(["1", "NA"]), 2),
    ],
)
def test_a_value_that_cannot_be_right_is_named(path, settings, array, row):
    with pytest.raises(InputError, match=rf"row {row}: column 'x' is .*, expected "):
        read(log_of(path, array, **settings))


def test_a_column_of_lists_that_cannot_be_right_is_refused(path):
    with pytest.raises(InputError, match=r"2 of 2 values are bad, the first is .*7\.5"):
        read(log_of(path, pa.array([[7.5], [8.5]]), bags=("x",)))


def test_what_pandas_writes_is_what_it_had(path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"y": [0, 1, 1], "user": [7, None, 8], "a": [1.0, None, 2.5]})
    assert frame["user"].dtype == np.float64
    frame.astype({"user": "category"}).to_parquet(path)
    columns = Columns("y", ("a",), ("user",), format="parquet")
    expected = {"y": [0, 1, 1], "a": [1.0, None, 2.5], "user": ["7", None, "8"]}
    assert read(open_log(path, columns)) == expected
    frame.to_parquet(path)
    assert read(open_log(path, columns)) == expected


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([Decimal("1.00"), Decimal("0.00")]), [1, 0]),
        (pa.array([Decimal(1), Decimal(0)], pa.decimal128(38, 0)), [1, 0]),
        (pa.array([1.0, 0.0]), [1, 0]),
        (pa.array([1, 0], pa.uint8()), [1, 0]),
        (pa.array([True, False]), [1, 0]),
        (pa.array(["true", "false"]).dictionary_encode(), [1, 0]),
    ],
)
def test_labels_of_every_type_are_read(path, array, expected):
    pa_parquet.write_table(pa.table({"y": array, "x": ["a", "b"]}), path)
    columns = Columns("y", (), ("x",), format="parquet")
    assert read(open_log(path, columns))["y"] == expected


@pytest.mark.parametrize(
    ("array", "positive"),
    [
        (pa.array([Decimal("2.00"), Decimal("-1.00")]), "2"),
        (pa.array([2.0, -1.0]), "2"),
        (pa.array([0.5, 2.0]), "0.5"),
        (pa.array([2, -1], pa.int8()), "2"),
    ],
)
def test_a_number_may_be_the_positive_label(path, array, positive):
    pa_parquet.write_table(pa.table({"y": array, "x": ["a", "b"]}), path)
    columns = Columns("y", (), ("x",), format="parquet", positive=positive)
    assert read(open_log(path, columns))["y"] == [1, 0]


def test_a_missing_label_is_a_bad_row(path):
    for label in (NAN, None):
        pa_parquet.write_table(pa.table({"y": [1.0, label], "x": ["a", "b"]}), path)
        for positive in (None, "1"):
            columns = Columns("y", (), ("x",), format="parquet", positive=positive)
            with pytest.raises(InputError, match="row 2: column 'y' is missing"):
                read(open_log(path, columns))


ZONES = [None, "UTC", "+00:00", "+05:30", "Asia/Kolkata", "-03:30", "+02:00"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_instant_of_a_timestamp_counts_in_every_zone(path, zone, unit):
    instant = 1_714_596_600  # 2024-05-01T20:50Z, the next day in India
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    array = pa.array([instant * per_second], pa.timestamp(unit, zone))
    for days_kind, expected in (("time", instant), ("day", instant // 86_400)):
        log = log_of(path, array, single=("y",), days_by=DaysBy("x", days_kind))
        assert read(log)[TIME_KEY] == [expected]


@pytest.mark.parametrize(
    "array",
    [
        pa.array([0], pa.timestamp("us", "+05:30")),
        pa.array([0], pa.timestamp("us", "Nowhere/At_all")),
        pa.array([Decimal(1)], pa.decimal256(60, 0)),
        pa.array([{"a": 1}]),
        pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([datetime.timedelta(1)]),
    ],
)
def test_columns_that_are_not_described_are_not_read(path, array):
    pa_parquet.write_table(pa.table({"y": [1], "a": [2], "x": array}), path)
    columns = Columns("y", ("a",), (), format="parquet")
    assert read(open_log(path, columns)) == {"y": [1], "a": [2.0]}


@pytest.mark.parametrize("name", ["^x$", "*", "a.b", "", "0", "x y"])
def test_columns_of_any_name_are_read(path, name):
    pa_parquet.write_table(pa.table({"y": [0, 1], name: ["u", "v"], "x": [1, 2]}), path)
    columns = Columns("y", ("x",), (name,), format="parquet")
    expected = {"y": [0, 1], "x": [1.0, 2.0], name: ["u", "v"]}
    assert read(open_log(path, columns)) == expected


@pytest.mark.parametrize(
    "array",
    [
        pa.array([{"a": 1}]),
        pa.array([0], pa.timestamp("us", "+05:30")),
        pa.array([[1]]),
        pa.array([datetime.time(1)]),
    ],
)
@pytest.mark.parametrize("settings", [{"dense": ("x",)}, {"single": ("x",)}])
def test_a_type_that_means_nothing_there_is_refused(path, array, settings):
    with pytest.raises(InputError, match=r"column 'x' is of type .*, expected "):
        log_of(path, array, **settings)


def test_whole_numbers_are_written_as_python_writes_them():
    rng = np.random.default_rng(0)
    values = rng.integers(-(2**53) + 1, 2**53, 1000)
    floats = pl.Series(values.astype(np.float64))
    assert whole_number_texts(floats).to_list() == [str(value) for value in values]
