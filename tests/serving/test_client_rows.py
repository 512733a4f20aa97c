"""A client reads a file as `predict` does, or refuses where it cannot know how."""

import gzip

import polars as pl
import pyarrow as pa
import pytest

from pipelines.logs.columns import Columns
from pipelines.logs.rows_to_score import RowsToScore, as_texts
from tests.support.log_files import write
from tests.support.raw_rows import make_rows, write_rows
from tfdlrm.base.errors import InputError
from tfdlrm.serving.client_rows import client_rows

NAMES = ["user", "age", "tags"]
HEAD = "user\tunused\ttags\tage\n"
ROWS = "u1\tx\ta|b\t31\n\tx\t\t\nu2\tx\ta\t7\n"
DESCRIPTION = (
    "{format: tsv, label: y, dense: [{name: age, transform: none}], "
    "categorical: [user, {name: tags, separator: '|'}]MORE}"
)
MODEL = Columns(
    *("y", ("age",), ("user",), ("tags",)),
    separators=("|",),
    format="tsv",
    separator="\t",
)
EXPECTED = {
    "user": [b"u1", b"", b"u2"],
    "age": [b"31", b"", b"7"],
    "tags": [b"a|b", b"", b"a"],
}


def by_client(path, names=NAMES, description=None):
    rows = client_rows(path, names, description)
    frame = pl.concat(rows.read(path))
    return as_texts(frame, rows.columns)


def by_predict(path, columns=MODEL):
    return as_texts(pl.concat(RowsToScore(path, columns)), columns)


def numbers_alike(texts):
    ages = [float(age) if age else None for age in texts["age"]]
    return {**texts, "age": ages}


@pytest.mark.parametrize(
    "contents",
    [
        HEAD + ROWS,
        "\ufeff" + HEAD + ROWS,
        (HEAD + ROWS).replace("\n", "\r\n"),
        (HEAD + ROWS).replace("\n", "\r"),
        "\n" + HEAD + "\n" + ROWS + "\n\n",
        (HEAD + ROWS)[:-1],
        HEAD.replace("user", '"user"') + ROWS,
        HEAD.replace("user", '"user"') + ROWS.replace("u1", '"u1"'),
        gzip.compress((HEAD + ROWS).encode(), mtime=0),
        pa.compress((HEAD + ROWS).encode(), "zstd", asbytes=True),
    ],
)
def test_a_head_line_says_enough(tmp_path, contents):
    path = write(tmp_path / "log", contents)
    assert by_client(path) == EXPECTED
    assert numbers_alike(by_predict(path)) == numbers_alike(EXPECTED)
    description = write(tmp_path / "columns.yaml", DESCRIPTION.replace("MORE", ""))
    assert by_client(path, NAMES, description) == by_predict(path)


def test_commas_are_seen_in_the_head_line(tmp_path):
    path = write(tmp_path / "log", (HEAD + ROWS).replace("\t", ","))
    assert by_client(path) == EXPECTED


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('"u1"\tx\ta\t1\n', "row 3: column 'user' has a quote in it"),
        ('u"1\tx\ta\t1\n', "row 3: column 'user' has a quote in it"),
        ("u1\tx\t\\N\t1\n", "row 3: column 'tags' has a backslash in it"),
    ],
)
def test_what_only_a_description_says_is_refused_without_one(tmp_path, row, message):
    path = write(tmp_path / "log", HEAD + "u0\tx\ta\t1\n" + row)
    rows = client_rows(path, NAMES, None)
    with pytest.raises(InputError, match=message):
        list(rows.read(path))
    for quoting in (", quote: none", ", quote: '\"'", ', escape: "\\\\"'):
        description = write(tmp_path / "c.yaml", DESCRIPTION.replace("MORE", quoting))
        columns = client_rows(path, NAMES, description).columns
        try:
            expected = by_predict(path, columns)
        except InputError as error:
            with pytest.raises(InputError) as caught:
                by_client(path, NAMES, description)
            assert str(caught.value) == str(error)
        else:
            assert by_client(path, NAMES, description) == expected


def test_a_head_line_of_one_name_does_not_say_the_separator(tmp_path):
    path = write(tmp_path / "log", "user\nu1\n\nu2\n")
    assert by_client(path, ["user"]) == {"user": [b"u1", b"", b"u2"]}
    path = write(tmp_path / "log", "user\nu1,u2\n")
    with pytest.raises(InputError, match="column 'user' has a comma in it"):
        by_client(path, ["user"])


def test_rows_without_a_head_line_need_a_description(tmp_path):
    path = write(tmp_path / "log", "1;u1;31;a|b\n0;u2;7;\n")
    with pytest.raises(
        InputError, match=r"has no head line with the names .*--columns"
    ):
        client_rows(path, NAMES, None)
    options = ", separator: ;, names: [y, user, age, tags]"
    text = DESCRIPTION.replace("MORE", options).replace("tsv", "csv")
    texts = by_client(path, NAMES, write(tmp_path / "columns.yaml", text))
    assert texts == {
        "user": [b"u1", b"u2"],
        "age": [b"31.0", b"7.0"],
        "tags": [b"a|b", b""],
    }


def test_a_description_of_another_model_is_refused(tmp_path):
    description = write(tmp_path / "columns.yaml", DESCRIPTION.replace("MORE", ""))
    path = write(tmp_path / "log", HEAD + ROWS)
    with pytest.raises(InputError, match=r"describes other columns .* has age, price"):
        client_rows(path, ["user", "tags", "price"], description)


def test_criteos_rows_are_those_of_predict(tmp_path):
    rows = make_rows(50)
    columns = Columns.criteo()
    path = write_rows(tmp_path / "log.gz", [b"\xef\xbb\xbf" + rows[0], *rows[1:]])
    texts = by_client(path, [*reversed(columns.features)])
    assert texts == by_predict(path, columns)
    for number, name in enumerate(columns.features, start=1):
        assert texts[name] == [row.split(b"\t")[number] for row in rows]
    for bad_row in (b"", b"x", rows[0] + b"\t"):
        write_rows(path, [*rows, bad_row])
        for read_rows in (
            lambda: by_client(path, columns.features),
            lambda: by_predict(path, columns),
        ):
            with pytest.raises(InputError, match=r"log\.gz line 51: "):
                read_rows()


def test_files_without_rows_are_refused_alike(tmp_path):
    for contents in ("", HEAD):
        path = write(tmp_path / "log", contents)
        for read_rows in (by_client, by_predict):
            with pytest.raises(InputError, match=r"is empty|no rows below it"):
                read_rows(path)
