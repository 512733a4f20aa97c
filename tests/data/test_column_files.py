"""Each name of a column becomes a name of a file of its own."""

import hashlib

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfdlrm.base.errors import InputError
from tfdlrm.data.column_files import file_name, vocabulary_path
from tfdlrm.data.vocabulary_files import read_vocabulary, write_vocabulary

AWKWARD = [
    *("x[1]", "x1", "new?", "news", "a*", "tags[]", "size [cm]", "{a,b}", "ctr%"),
    *("a/b", "a%2Fb", "..", ".", "../x", ".hidden", "a\\b", "a\0b", "two\nlines"),
    *("日付", "🙂", "שלום", "\x1b[31m", "$x$", "y" * 300, "y" * 301, "日" * 100),
]


def vocabulary(*values):
    ids = range(2, 2 + len(values))
    frame = pl.DataFrame({"value": values, "id": ids, "frequency": [5] * len(values)})
    return frame.cast({"id": pl.Int32})


@pytest.mark.parametrize(
    "name", ["C1", "user_id", "Größe", "price (EUR)", "a-b.c", "x="]
)
def test_ordinary_names_stay_as_they_are(name):
    assert file_name(name) == name


@given(st.lists(st.text(min_size=1) | st.sampled_from(AWKWARD), unique=True))
def test_every_name_has_a_file_of_its_own(names):
    files = [file_name(name) for name in names]
    assert len(set(files)) == len(names)
    for file in files:
        assert not set(file) & set("/\0*?[]{}\\\n\x1b")
        assert file[0] != "." and len(file.encode()) <= 200


def test_a_long_name_ends_with_its_checksum():
    digest = hashlib.sha256(b"y" * 300).hexdigest()
    assert file_name("y" * 300) == f"{'y' * 33}%.{digest}"


def test_awkward_columns_keep_their_own_vocabularies(tmp_path):
    for number, name in enumerate(AWKWARD):
        write_vocabulary(vocabulary(f"value {number}"), tmp_path, name)
    assert len(list((tmp_path / "vocabulary").iterdir())) == len(AWKWARD)
    for number, name in enumerate(AWKWARD):
        read_back = read_vocabulary(tmp_path, name, num_values=1)
        assert read_back["value"].to_list() == [f"value {number}"]


@pytest.mark.parametrize("name", ["x[1]", "ctr%", "new?", "z" * 210])
def test_vocabularies_of_the_release_before_are_found(tmp_path, name):
    """The release before wrote names of columns without encoding them."""
    path = tmp_path / "vocabulary" / f"{name}.parquet"
    path.parent.mkdir()
    vocabulary("a", "b").write_parquet(path)
    assert vocabulary_path(tmp_path, name) == path
    assert read_vocabulary(tmp_path, name, 2)["value"].to_list() == ["a", "b"]


def test_the_file_of_another_column_is_never_taken_for_an_old_one(tmp_path):
    write_vocabulary(vocabulary("a"), tmp_path, "x[")  # x%5B.parquet
    with pytest.raises(InputError, match=r"x%255B\.parquet cannot be read"):
        read_vocabulary(tmp_path, "x%5B", 1)


def test_columns_that_a_file_system_does_not_distinguish_are_refused(
    tmp_path, monkeypatch
):
    write_vocabulary(vocabulary("a"), tmp_path, "User")
    exists = type(tmp_path).exists

    def exists_in_any_case(path):
        folder = path.parent
        names = (
            [entry.name.lower() for entry in folder.iterdir()] if exists(folder) else []
        )
        return path.name.lower() in names

    monkeypatch.setattr(type(tmp_path), "exists", exists_in_any_case)
    write_vocabulary(vocabulary("b"), tmp_path, "User")  # its own may be replaced
    with pytest.raises(InputError, match="'user' is another column's file"):
        write_vocabulary(vocabulary("c"), tmp_path, "user")
    assert read_vocabulary(tmp_path, "User", 1)["value"].to_list() == ["b"]
