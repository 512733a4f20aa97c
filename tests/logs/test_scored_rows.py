"""Columns of a log next to the scores of its rows, in the style of the log."""

import csv
import io
import json

import numpy as np
import polars as pl
import pytest

from pipelines.logs.columns import Columns
from pipelines.logs.kept_columns import select_kept
from pipelines.logs.rows_to_score import RowsToScore
from pipelines.logs.scored_rows import check_keep, scored_rows
from tests.support.log_files import write
from tests.support.raw_rows import make_rows, write_rows
from tfdlrm.base.errors import InputError

TSV = {"format": "tsv", "separator": "\t"}
NAMES = ["note", "y", "a b", "tags"]
VALUES = [
    ["plain", "1", "x", "s|t"],
    ["", "0", "y", ""],
    ["tab\tand, comma", "0", 'a "quote"', "two\nlines|s"],
    ["back\\slash", "1", '"', "CR\r\nLF"],
    [" blanks ", "1", "é中🙂", "\\"],
]


def columns(**style):
    return Columns("y", (), ("a b",), ("tags",), separators=("|",), **style)


def scored(path, log_columns, keep, name="scores.csv", is_described=True):
    """Write the scores 0, 0.25, 0.5 … next to some columns, a few rows at a time."""
    rows = RowsToScore(path, log_columns, is_described, keep)
    output = path.with_name(name)
    number = 0
    with scored_rows("output_file", output, keep) as file:
        for chunk in rows:
            for frame in chunk.iter_slices(2):
                scores = np.arange(number, number + frame.height, dtype=np.float32) / 4
                number += frame.height
                file.write(select_kept(frame, keep), scores, rows.style)
    return output


def kept_values(path, log_columns, keep, **options):
    """Return these columns and the scores as another reading of the output has them."""
    frames = RowsToScore(path, log_columns, kept=[*keep, "probability"], **options)
    frame = pl.concat(frames)
    *kept, scores = select_kept(frame, [*keep, "probability"])
    return [values.fill_null("").to_list() for values in kept], scores.to_list()


def as_csv(values, **style):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", **style).writerows(values)
    return text.getvalue()


@pytest.mark.parametrize(
    ("style", "python_style"),
    [
        ({}, {}),
        ({"separator": ";"}, {"delimiter": ";"}),
        (TSV | {"quote": '"'}, {"delimiter": "\t"}),
        (
            {"quote": "none", "escape": "\\"},
            {"quoting": csv.QUOTE_NONE, "escapechar": "\\", "quotechar": None},
        ),
        ({"escape": "\\"}, {"escapechar": "\\", "quoting": csv.QUOTE_ALL}),
    ],
)
def test_the_output_has_the_style_of_the_log(tmp_path, style, python_style):
    keep = ["tags", "note", "a b"]
    # Python writes no escape before a carriage return.
    drop = "\r" if style.get("quote") == "none" else ""
    values = [[value.replace(drop, "") for value in row] for row in VALUES]
    log = write(tmp_path / "log", as_csv([NAMES, *values], **python_style))
    output = scored(log, columns(**style), keep)
    # Read by the description of the log, the output has the values of the log.
    kept, scores = kept_values(output, columns(**style), keep)
    by_name = dict(zip(NAMES, zip(*values, strict=True), strict=True))
    assert kept == [list(by_name[name]) for name in keep]
    assert [float(score) for score in scores] == [0, 0.25, 0.5, 0.75, 1]
    if "escape" not in style:
        rows = list(csv.reader(output.open(newline=""), **python_style))
        assert rows[0] == [*keep, "probability"]
        assert [row[:-1] for row in rows[1:]] == [
            list(row) for row in zip(*kept, strict=True)
        ]


def test_text_without_quotes_passes_marks_on_as_they_are(tmp_path):
    log = write(tmp_path / "log", 'y\ta b\ttags\n1\t"q\ts|t\n0\tit\'s "\t\n')
    output = scored(log, columns(**TSV), ["a b", "tags"])
    assert output.read_text() == (
        'a b\ttags\tprobability\n"q\ts|t\t0.0\nit\'s "\t\t0.25\n'
    )


def test_values_that_the_first_files_style_cannot_hold_are_refused(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    write(folder / "1.tsv", "y\ta b\ttags\n1\tx\t\n")
    write(folder / "2.tsv", '"y"\t"a b"\t"tags"\n1\t"p\tq"\t\n')
    with pytest.raises(InputError, match=r"'a b' is 'p\\tq', which text separated by"):
        scored(folder, columns(**TSV), ["a b"])
    assert not (tmp_path / "scores.csv").exists()
    output = scored(folder, columns(**TSV), ["a b"], "scores.parquet")
    assert pl.read_parquet(output)["a b"].to_list() == ["x", "p\tq"]


def test_columns_that_nothing_describes_and_the_label_can_be_kept(tmp_path):
    log = write(tmp_path / "log", as_csv([NAMES, *VALUES]))
    output = scored(log, columns(), ["note", "y"], "scores.parquet")
    frame = pl.read_parquet(output)
    assert frame.columns == ["note", "y", "probability"]
    assert frame["note"].to_list() == [row[0] or None for row in VALUES]
    assert frame["y"].to_list() == [row[1] for row in VALUES]
    assert frame["probability"].dtype == pl.Float32


def test_a_column_of_the_folders_names_can_be_kept(tmp_path):
    folder = tmp_path / "log" / "day=2024-05-01"
    folder.mkdir(parents=True)
    write(folder / "part.csv", "y,a b,tags\n1,x,s\n")
    output = scored(tmp_path / "log", columns(), ["day"])
    assert output.read_text() == "day,probability\n2024-05-01,0.0\n"


def test_without_a_description_the_head_line_says_enough(tmp_path):
    log = write(tmp_path / "log", "id\ta b\ttags\nr1\tx\ts|t\n")
    output = scored(log, columns(**TSV), ["id", "tags"], is_described=False)
    assert output.read_text() == "id\ttags\tprobability\nr1\ts|t\t0.0\n"


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ("note", r"row 2: column 'note' is '.*' \(not UTF-8\), expected text in UTF-8"),
        ("nota", "has no column 'nota' to keep: it has 'note', .* mean 'note'?"),
        ("twice", "has several columns 'twice' to keep"),
    ],
)
def test_what_cannot_be_kept_is_refused(tmp_path, keep, message):
    log = write(tmp_path / "log", b"note,y,a b,tags,twice,twice\n\xff,1,x,s,1,2\n")
    with pytest.raises(InputError, match=message):
        scored(log, columns(), [keep])
    assert not (tmp_path / "scores.csv").exists()


def test_bad_rows_stop_before_an_output_appears(tmp_path):
    log = write(tmp_path / "log", "y,a b,tags\n1,x,s\n1,x\n")
    with pytest.raises(InputError, match="row 3: has 2 columns, expected 3"):
        scored(log, columns(), ["a b"])
    assert not (tmp_path / "scores.csv").exists()


@pytest.mark.parametrize("keep", [("a", "a"), ("probability",)])
def test_names_that_make_no_table_are_refused(keep):
    with pytest.raises(InputError, match="keep names the column"):
        check_keep(keep)


def test_criteos_fields_are_kept_as_they_are_written(tmp_path):
    rows = [b"1\t0005" + b"\t" * 37 + b"\t05db9164", *make_rows(3)]
    log = write_rows(tmp_path / "log.tsv", rows)
    output = scored(log, Columns.criteo(), ["C26", "I1", "label"])
    lines = output.read_text().splitlines()
    fields = [row.decode().split("\t") for row in rows]
    assert lines[0] == "C26\tI1\tlabel\tprobability"
    assert [line.split("\t")[:-1] for line in lines[1:]] == [
        [row[39], row[1], row[0]] for row in fields
    ]
    with pytest.raises(InputError, match="no column 'C27' to keep"):
        scored(log, Columns.criteo(), ["C27"])


TYPED = pl.DataFrame(
    {
        "y": [1, 0, 1],
        "a b": ["x", "", None],
        "tags": [["s", 'say "t"'], [], None],
        "number": [1.5, float("nan"), None],
        "when": pl.Series(["2024-05-01T08:00:00"] * 3).str.to_datetime(time_zone="UTC"),
        "part": [{"p": 1}, {"p": 2}, None],
        "kind": pl.Series(["k", "l", "k"], dtype=pl.Categorical),
    }
)
TYPED_COLUMNS = Columns(
    *("y", (), ("a b",), ("tags",)), separators=(None,), format="parquet", separator=""
)


def test_parquet_keeps_the_types_of_parquet(tmp_path):
    TYPED.write_parquet(tmp_path / "log.parquet")
    keep = list(reversed(TYPED.columns))
    output = scored(tmp_path / "log.parquet", TYPED_COLUMNS, keep, "scores.parquet")
    frame = pl.read_parquet(output)
    assert frame.columns == [*keep, "probability"]
    for name in keep:
        assert frame[name].equals(TYPED[name].cast(frame[name].dtype)), name
    assert frame["when"].dtype == TYPED["when"].dtype


def test_lists_are_json_in_text(tmp_path):
    TYPED.write_parquet(tmp_path / "log.parquet")
    keep = ["tags", "number", "a b", "part"]
    output = scored(tmp_path / "log.parquet", TYPED_COLUMNS, keep)
    head, *rows = csv.reader(output.open(newline=""))
    assert head == [*keep, "probability"]
    assert [row[0] and json.loads(row[0]) for row in rows] == [["s", 'say "t"'], [], ""]
    assert [row[1] for row in rows] == ["1.5", "NaN", ""]
    assert json.loads(rows[0][3]) == {"p": 1}


@pytest.mark.parametrize("name", ["", "^.*$", "*", "two\nlines"])
def test_columns_of_any_name_are_kept(tmp_path, name):
    frame = pl.DataFrame({"y": [1], "a b": ["x"], "tags": [["s"]], name: ["kept"]})
    frame.write_parquet(tmp_path / "log.parquet")
    output = scored(tmp_path / "log.parquet", TYPED_COLUMNS, [name, "y"], "s.parquet")
    assert pl.read_parquet(output).columns == [name, "y", "probability"]
    write(tmp_path / "log.csv", as_csv([["y", "a b", "tags", name], [1, "x", "s", 2]]))
    output = scored(tmp_path / "log.csv", columns(), [name, "y"])
    with output.open(newline="") as file:
        assert list(csv.reader(file)) == [[name, "y", "probability"], ["2", "1", "0.0"]]


def test_files_of_other_types_are_refused_in_one_line(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    TYPED.write_parquet(folder / "1.parquet")
    other = TYPED.with_columns(number=pl.Series(["one", "two", "three"]))
    other.write_parquet(folder / "2.parquet")
    with pytest.raises(InputError, match="columns of other types"):
        scored(folder, TYPED_COLUMNS, ["number"], "scores.parquet")
    assert not (tmp_path / "scores.parquet").exists()
