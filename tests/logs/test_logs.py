"""CSV and TSV logs against Python's csv module, and the faults in them."""

import csv
import io
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.logs.columns import Columns, DaysBy
from pipelines.logs.opening import open_log
from pipelines.logs.text_log import TextLog
from tests.support.log_files import read, write
from tfdlrm.base.errors import InputError

COLUMNS = Columns(
    label="clicked",
    dense_features=("price", "age"),
    single_hot=("user",),
    multi_hot=("tags",),
    separators=("|",),
)
CSV = (
    "user,clicked,price,unused,tags,age\n"
    'ann,1,1.5,,"a|b",3\n'
    '"b,o""b\nx",0,-2e3,q,,\n'
    ",true,,,b||c,7\n"
)


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_a_log_is_read_as_its_columns_say(tmp_path, name, line_end, bom):
    path = write(tmp_path / name, bom + CSV.replace("\n", line_end))
    log = open_log(path, COLUMNS)
    assert read(log) == {
        "clicked": [1, 0, 1],
        "price": [1.5, -2000.0, None],
        "age": [3.0, None, 7.0],
        "user": ["ann", f'b,o"b{line_end}x', None],
        "tags": [["a", "b"], [], ["b", "c"]],
    }
    assert log.num_bytes == log.bytes_read == path.stat().st_size
    types = next(iter(log)).schema
    assert types == {
        "clicked": pl.UInt8,
        "price": pl.Float64,
        "age": pl.Float64,
        "user": pl.String,
        "tags": pl.List(pl.String),
    }


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=30))
@example(rows=[("", "\n")])
def test_text_is_what_the_csv_module_wrote(tmp_path_factory, rows):
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("y", "a", "b"), *((1, *row) for row in rows)])
    path = write(tmp_path_factory.getbasetemp() / "fuzz.csv", text.getvalue())
    columns = Columns("y", (), ("a", "b"))
    values = read(TextLog(path, columns, chunk_bytes=300))
    for position, name in enumerate(columns.single_hot):
        assert values[name] == [row[position] or None for row in rows]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n\n"])
@pytest.mark.parametrize("chunk_bytes", [16, 300])
def test_a_last_value_may_end_in_a_newline(tmp_path, end, chunk_bytes):
    path = write(tmp_path / "log.csv", 'y,a,b\n1,u,"v\n"' + end)
    log = TextLog(path, Columns("y", (), ("a", "b")), chunk_bytes=chunk_bytes)
    assert read(log)["b"] == ["v\n"]


@pytest.mark.parametrize("value", ['"', '"v', '"v\n', '"v\n""', '"v\n\n\n'])
def test_a_last_quote_that_stays_open_is_refused(tmp_path, value):
    path = write(tmp_path / "log.csv", "y,a,b\n1,u," + value)
    with pytest.raises(InputError, match="row 2: column 'b' has a quote"):
        read(TextLog(path, Columns("y", (), ("a", "b"))))


def test_chunks_are_the_same_each_time_and_can_be_resumed(tmp_path):
    lines = [f'{i % 2},{i},"{i}\n{i}",{i % 7}|{i % 5},u{i}' for i in range(5000)]
    text = "clicked,price,user,tags,age".replace("age", "unused") + "\n"
    columns = Columns("clicked", ("price",), ("user",), ("tags",), separators=("|",))
    lines[100] = "1,2"
    path = write(tmp_path / "log.csv", text + "\n".join(lines))

    def log():
        return TextLog(path, columns, "skip", chunk_bytes=4000)

    frames = list(log())
    assert len(frames) > 10
    assert sum(frame.height for frame in frames) == 4999
    for frame, same_frame in zip(frames, log(), strict=True):
        assert frame.equals(same_frame)
    file = log()
    iterator = file.frames()
    next(iterator)
    next(iterator)
    later_frames = list(log().frames(file.position))
    assert pl.concat(later_frames).equals(pl.concat(frames[2:]))


def test_files_without_a_header_have_their_names_described(tmp_path):
    columns = Columns("y", ("a",), ("b",), names=("a", "x", "y", "b"))
    path = write(tmp_path / "log.csv", "1,,0,u\n2,,1,v\n")
    assert read(open_log(path, columns))["y"] == [0, 1]
    unlabelled = write(tmp_path / "new.csv", "1,,u\n2,,v\n")
    assert read(open_log(unlabelled, columns, labelled=False)) == {
        "a": [1.0, 2.0],
        "b": ["u", "v"],
    }
    assert read(open_log(path, columns, labelled=False))["b"] == ["u", "v"]
    with pytest.raises(InputError, match=r"row 1: has 3 columns, expected 4"):
        read(open_log(unlabelled, columns))


@pytest.mark.parametrize("row", ["1,0,2024-01-01,u", "1,2024-01-01,u", "1,u"])
def test_rows_to_score_may_come_without_label_and_day(tmp_path, row):
    names = ("a", "y", "day", "b")
    columns = Columns(
        "y", ("a",), ("b",), names=names, days_by=DaysBy("day", "day", "s")
    )
    path = write(tmp_path / "log.csv", f"{row}\n")
    if row.count(",") == 2:  # either of the two may be missing
        with pytest.raises(InputError, match="3 columns: either 'y' or 'day' of"):
            open_log(path, columns, labelled=False)
    else:
        assert read(open_log(path, columns, labelled=False)) == {"a": [1], "b": ["u"]}


def test_labels_are_compared_with_the_positive_text(tmp_path):
    columns = Columns("y", ("a",), (), positive="buy", negative="others")
    path = write(tmp_path / "log.csv", "y,a\nbuy,1\nBuy,1\nlook,1\n")
    assert read(open_log(path, columns))["y"] == [1, 0, 0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("ann,2,1,,a,3", r"row 5: column 'clicked' is '2', expected 0 or 1, or true"),
        ("ann,,1,,a,3", r"row 5: column 'clicked' is missing"),
        ("ann,1,x,,a,3", r"row 5: column 'price' is 'x', expected a finite number"),
        ("ann,1,nan,,a,3", r"row 5: column 'price' is 'nan'"),
        ("ann,1,1e39,,a,3", r"row 5: column 'price' is '1e39'"),
        ("ann,1,1,,a", r"row 5: has 5 columns, expected 6 separated by ','"),
        ("ann,1,1,,a,3,4", r"row 5: has 7 columns, expected 6"),
        (b"\xff,1,1,,a,3", r"row 5: column 'user' is '\\xff' \(not UTF-8\), expected"),
        (b"ann,1,1,,\xff|b,3", r"row 5: column 'tags' is '\\xff.b' \(not UTF-8\)"),
        ('ann,1,1,,a,"3', r"row 5: column 'age' has a quote that is never closed"),
        ('ann,1,"1,,a,3', r"row 5: column 'price' has a quote that is never closed"),
    ],
)
def test_a_bad_row_is_named_or_skipped(tmp_path, row, message):
    row = row.encode() if isinstance(row, str) else row
    path = write(tmp_path / "log.csv", CSV.encode() + row + b"\n")
    with pytest.raises(InputError, match=rf"log\.csv {message}") as raised:
        read(open_log(path, COLUMNS))
    assert "\n" not in str(raised.value)
    log = open_log(path, COLUMNS, "skip")
    assert read(log)["clicked"] == [1, 0, 1]
    assert log.skipped.counts.total() == 1


def test_rows_are_counted_past_bad_ones(tmp_path):
    lines = ["y,a", "1,2", "1", "0,3", "", "1,x", "1,2,3", "0,y", "1,4"]
    path = write(tmp_path / "log.csv", "\n".join(lines))
    log = TextLog(path, Columns("y", ("a",), ()), "skip", chunk_bytes=8)
    assert read(log) == {"y": [1, 0, 1], "a": [2.0, 3.0, 4.0]}
    examples = {problem: row.line for problem, row in log.skipped.examples.items()}
    assert examples == {"wrong number of columns": 3, "bad number": 5}
    assert log.skipped.counts == {"wrong number of columns": 2, "bad number": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("y,a\n", "has a head line and no rows below it"),
        ("y,b\n1,2\n", "has no column 'a', expected one: it has 'y', 'b'"),
        ("y,a,a\n1,2,3\n", "has several columns 'a'"),
        ("y;a\n1;2\n", "no column 'y', .*; say what separates"),
        ("y,a\n1," + "9" * 5000, "has a row of more than 1,000 bytes"),
        (
            '"y,a\n' + "1,2\n" * 40_000,
            "row 1: column 1 .* not closed in 1,000 bytes",
        ),
    ],
)
def test_a_file_that_is_no_log_is_refused(tmp_path, text, message):
    path = write(tmp_path / "log.csv", text)
    with pytest.raises(InputError, match=message):
        read(TextLog(path, Columns("y", ("a",), ()), chunk_bytes=1000))


def test_damaged_and_missing_files_are_refused(tmp_path):
    columns = Columns("y", ("a",), ())
    path = write(tmp_path / "log.csv.gz", "y,a\n" + "1,2\n" * 9999)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="is a damaged gzip file"):
        read(open_log(path, columns))
    for file_format in ("csv", "parquet"):
        columns = Columns("y", ("a",), (), format=file_format)
        with pytest.raises(
            InputError, match=f"No such file.* expected a {file_format} file"
        ):
            open_log(tmp_path / "none", columns)
    with pytest.raises(InputError, match=r"log\.csv\.gz is no Parquet file"):
        open_log(path, columns)
    path.write_bytes(b"PAR1" + bytes(99))
    with pytest.raises(InputError, match="cannot be read as parquet"):
        open_log(path, columns)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns("y", ("a",), ()), r"column 'a' is not as it is described: 3 of 4 va"),
        (Columns("a", ("b",), ()), r"column 'a' is not as .*: 4 of 5 .* expected 0 or"),
    ],
)
def test_a_column_that_is_mostly_bad_is_at_fault_itself(tmp_path, columns, message):
    path = write(tmp_path / "log.csv", "y,a,b\n1,de,1\n1,,1\n1,fr,1\n0,1,0\n0,it,0\n")
    with pytest.raises(InputError, match=message) as caught:
        read(open_log(path, columns))
    assert "describe the column otherwise" in str(caught.value)
    assert "fix the row" not in str(caught.value)
    write(path, "y\ta\tb\n" + '1\t"2"\t1\n' * 3)
    tsv = replace(columns, format="tsv", separator="\t", quote="none")
    if tsv.dense_features == ("a",):
        with pytest.raises(InputError, match="say `quote: '\"'` in the description"):
            read(open_log(path, tsv))
    write(path, "y,a,b\n" + "0,de,x\n" * 5)
    with pytest.raises(InputError, match=r"has no good row.*describe the column other"):
        read(open_log(path, columns, "skip"))


@pytest.mark.parametrize("bad", [b"1,\xff,3\n", b"1,caf\xe9\n1,\xe9,\xe9\n"])
def test_rows_of_the_wrong_width_need_not_be_utf_8(tmp_path, bad):
    path = write(tmp_path / "log.csv", b"y,a\n1,\xc3\xa9\n" + bad)
    columns = Columns("y", (), ("a",))
    with pytest.raises(InputError, match=r"row 3: (has 3 columns|column 'a' is)"):
        read(open_log(path, columns))
    log = open_log(path, columns, "skip")
    assert read(log)["a"] == ["\u00e9"]
    assert log.skipped.counts.total() == bad.count(b"\n")
