"""Quotes, escapes and line ends of text logs, against a reading byte by byte."""

import csv
import io
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.logs.columns import Columns
from pipelines.logs.opening import open_log
from pipelines.logs.rows_to_score import RowsToScore
from pipelines.logs.text_log import TextLog
from tests.support.log_files import read, write
from tfdlrm.base.errors import InputError

TSV = Columns("y", (), ("q", "user"), format="tsv", separator="\t")
CSV = Columns("y", (), ("q", "user"))
TEXTS = Columns("y", (), ("a", "b"), names=("y", "a", "b"))


def plain_rows(text, num_columns):
    """Return rows by RFC 4180; a malformed row is its first line, as `None`."""
    rows, start = [], 0
    while start < len(text):
        fields, position, is_good = [""], start, True
        is_inside = False
        while is_good:
            if position == len(text):
                is_good = not is_inside
                break
            character, following = text[position], text[position + 1 : position + 2]
            begins = not fields[-1] and text[position - 1 : position] in ("", ",", "\n")
            if is_inside and character == '"' and following == '"':
                fields[-1] += '"'
                position += 1
            elif is_inside and character == '"':
                is_inside = False
                is_good = following in (",", "\n", "")
            elif is_inside:
                fields[-1] += character
            elif character == '"':
                is_good = is_inside = begins or position == start
            elif character == ",":
                fields.append("")
            elif character == "\n":
                break
            else:
                fields[-1] += character
            position += 1
        if not is_good:
            position = text.find("\n", start)
            position = len(text) if position < 0 else position
            rows.append(None)
        elif text[start:position]:
            rows.append(fields if len(fields) == num_columns else None)
        start = position + 1
    return rows


ROUGH = st.text('a",\n', max_size=60)


@settings(max_examples=200, deadline=None)
@given(ROUGH, st.integers(60, 90))
@example('1,"a,b\n', 70)
@example('1,a",b\n1,"x"y,z\n"1",a,b', 70)
@example('1,"\n\n\n"",a\n1,a,b\n', 70)
def test_rows_are_those_of_a_reading_byte_by_byte(tmp_path_factory, text, chunk_bytes):
    lines = "1,a,b\n" + text
    expected = plain_rows(lines * 3, 3)
    path = write(tmp_path_factory.getbasetemp() / "rough.csv", lines * 3)
    columns = Columns("y", (), ("x", "a", "b"), names=("x", "a", "b"))
    log = TextLog(path, columns, "skip", labelled=False, chunk_bytes=chunk_bytes)
    frame = read(log)
    rows_read = [[v or "" for v in row] for row in zip(*frame.values(), strict=True)]
    assert rows_read == [row for row in expected if row]
    bad = [number for number, row in enumerate(expected, start=1) if row is None]
    assert log.skipped.counts.total() == len(bad)
    if bad:
        assert min(example.line for example in log.skipped.examples.values()) == bad[0]


@pytest.mark.parametrize("chunk_bytes", [40, 1000, 10**6])
def test_a_stray_quote_costs_no_row_of_tab_separated_text(tmp_path, chunk_bytes):
    draw = random.Random(0)
    queries = [draw.choice(['"', ""]) + draw.choice(["tv", "24 inch", 'a"b', ""])
               for _ in range(3000)]  # fmt: skip
    lines = [f"{i % 2}\t{query}\tu{i % 7}" for i, query in enumerate(queries)]
    path = write(tmp_path / "log.tsv", "\n".join(["y\tq\tuser", *lines]))
    values = read(TextLog(path, TSV, chunk_bytes=chunk_bytes))
    assert values["q"] == [query or None for query in queries]
    assert values["user"] == [f"u{i % 7}" for i in range(3000)]


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ('0,"cheap phones,u1', "column 'q' has text behind its closing quote"),
        ('0,"24" inch,u1', "column 'q' has text behind its closing quote: '\"24\" in"),
        ('0,24" inch,u1', "column 'q' has a quote in it and does not begin with one"),
        ('0, "tv",u1', "column 'q' has a quote in it"),
        ('0,tv,"u1" ', "column 'user' has text behind its closing quote"),
        (r'0,"say \"hi\"",u1', "column 'q' has text behind its closing quote"),
        ('"0,tv,u1', "column 'y' has text behind its closing quote"),
    ],
)
def test_quotes_that_are_not_rfc_4180_are_refused_by_place(tmp_path, row, place):
    text = f'y,q,user\n1,"a\nb",u2\n{row}\n1,"sh""oes",u3\n0,"tv",u4\n'
    path = write(tmp_path / "log.csv", text)
    with pytest.raises(InputError) as caught:
        read(open_log(path, CSV))
    assert str(caught.value).startswith(f"{path} row 3: {place}")
    assert "`quote: none`" in str(caught.value) and "\n" not in str(caught.value)
    log = open_log(path, CSV, "skip")
    assert read(log)["user"] == ["u2", "u3", "u4"]
    assert log.skipped.counts.total() == 1


def test_a_quote_that_stays_open_costs_its_own_line_alone(tmp_path):
    lines = ["1,tv,u1", '0,"open,u2', *["1,coats,u3"] * 3000]
    path = write(tmp_path / "log.csv", "\n".join(["y,q,user", *lines]))
    for chunk_bytes in (200, 10**6):
        log = TextLog(path, CSV, "skip", chunk_bytes=chunk_bytes)
        assert len(read(log)["y"]) == 3001
        (bad,) = log.skipped.examples.values()
        assert (bad.line, bad.kind) == (3, "open quote")


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
def test_tab_separated_text_has_quotes_where_it_is_asked_for(tmp_path, quoting):
    values = ["tv", 'say "hi"', "a\tb", "a\nb", "", '"']
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t", lineterminator="\n", quoting=quoting)
    writer.writerows([("y", "q", "user"), *((1, value, "u") for value in values)])
    path = write(tmp_path / "log.tsv", text.getvalue())
    with_quotes = Columns(
        "y", (), ("q", "user"), format="tsv", separator="\t", quote='"'
    )
    assert read(open_log(path, with_quotes))["q"] == [value or None for value in values]
    if quoting == csv.QUOTE_ALL:  # the head line asks for them
        assert read(open_log(path, TSV)) == read(open_log(path, with_quotes))
        never = Columns(
            "y", (), ("q", "user"), format="tsv", separator="\t", quote="none"
        )
        with pytest.raises(InputError, match="head line is in quotes: say `quote"):
            open_log(path, never)


def test_quotes_may_be_switched_off_in_csv(tmp_path):
    path = write(tmp_path / "log.csv", 'y,q,user\n1,"tv,u1\n0,24",u2\n')
    columns = Columns("y", (), ("q", "user"), quote="none")
    assert read(open_log(path, columns))["q"] == ['"tv', '24"']


VALUE = st.text('ab"\\,\n', max_size=5)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(VALUE, VALUE), min_size=1, max_size=8), st.booleans())
@example([("\\", '"'), ("\\\\", "a"), ("a\\", "\n")], True)
def test_escapes_are_what_the_csv_module_wrote(tmp_path_factory, rows, has_quotes):
    text = io.StringIO(newline="")
    writer = csv.writer(
        text,
        lineterminator="\n",
        escapechar="\\",
        doublequote=False,
        quoting=csv.QUOTE_ALL if has_quotes else csv.QUOTE_NONE,
    )
    writer.writerows([(1, *row) for row in rows])
    path = write(tmp_path_factory.getbasetemp() / "escaped.csv", text.getvalue())
    quote = '"' if has_quotes else "none"
    columns = Columns(
        "y", (), ("a", "b"), names=("y", "a", "b"), quote=quote, escape="\\"
    )
    read_back = read(TextLog(path, columns, chunk_bytes=120))
    for number, name in enumerate("ab"):
        assert read_back[name] == [row[number] or None for row in rows]


def test_an_escape_before_an_ordinary_letter_stays(tmp_path):
    path = write(tmp_path / "log.csv", "1,\\N,C:\\data\\\\x\n0,a\\,b,\\\r\nc\r\n")
    columns = Columns(
        "y", (), ("a", "b"), names=("y", "a", "b"), quote="none", escape="\\"
    )
    values = read(open_log(path, columns))
    assert values["a"] == ["\\N", "a,b"]
    assert values["b"] == ["C:\\data\\x", "\r\nc"]


def test_a_last_escape_of_a_line_end_is_refused(tmp_path):
    path = write(tmp_path / "log.csv", "1,a,b\n0,a,b\\")
    columns = Columns("y", (), ("a", "b"), names=("y", "a", "b"), escape="\\")
    with pytest.raises(InputError, match="row 2: column 'b' ends in an escape"):
        read(open_log(path, columns))


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("chunk_bytes", [40, 10**6])
def test_line_ends_are_those_of_the_first_row(tmp_path, line_end, end, chunk_bytes):
    text = '1,"x\ny",b\n0,c,\n' * 50
    file_text = (text.rstrip("\n") + end).replace("\n", line_end)
    path = write(tmp_path / "log.csv", file_text)
    values = read(TextLog(path, TEXTS, chunk_bytes=chunk_bytes))
    assert values["a"] == [f"x{line_end}y", "c"] * 50
    assert values["b"] == ["b", None] * 50


def test_a_carriage_return_in_a_value_is_refused(tmp_path):
    path = write(tmp_path / "log.csv", '1,"x\ry",b\n0,c\rd,\n1,e,f\n')
    with pytest.raises(InputError, match="row 2: column 'a' has a carriage return"):
        read(open_log(path, TEXTS))
    log = open_log(path, TEXTS, "skip")
    assert read(log)["a"] == ["x\ry", "e"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_blank_line_is_a_row_of_one_column_only(tmp_path, line_end):
    text = "\nuser\nu1\n\nu2\n\n".replace("\n", line_end)
    path = write(tmp_path / "one.csv", text)
    columns = Columns("y", (), ("user",))
    log = open_log(path, columns, labelled=False)
    assert read(log) == {"user": ["u1", None, "u2", None]}
    text = "\nuser,age\n\nu1,\n\n,\n".replace("\n", line_end)
    path = write(tmp_path / "two.csv", text)
    assert read(open_log(path, columns, labelled=False)) == {"user": ["u1", None]}
    path = write(tmp_path / "no_head.csv", f"{line_end}u1{line_end}{line_end}")
    columns = Columns("y", (), ("user",), names=("y", "user"))
    assert read(RowsToScore(path, columns)) == {"user": [None, "u1", None]}


def test_a_first_value_may_be_long(tmp_path):
    value = "x" * 200_000
    path = write(tmp_path / "log.csv", f'"y","q","user"\n1,"{value}",u\n')
    assert read(open_log(path, CSV))["q"] == [value]
    path = write(tmp_path / "no_head.csv", f"1,{value},u\n")
    assert read(open_log(path, TEXTS))["a"] == [value]


def test_many_malformed_rows_are_left_out(tmp_path):
    lines = ["1,tv,u1", '0,"open,u2', "1,a\rb,c", '0,x"y,u']
    path = write(tmp_path / "log.csv", "y,q,user\n" + "\n".join(lines * 1000) + "\n")
    log = open_log(path, CSV, "skip")
    assert len(read(log)["y"]) == 1000
    assert log.skipped.counts.total() == 3000
