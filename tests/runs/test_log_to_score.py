"""The raw log in the command that a run prints at its end."""

from pathlib import Path

import pytest

from pipelines.logs.columns import Columns
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.runs.log_to_score import log_to_score


def schema(columns=None, *files):
    described = [{"name": name, "bytes": size} for name, size in files]
    source = {"files": described, "settings": {}}
    return FeatureSchema((), (), columns=columns, source=source)


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        (None, "RAW.tsv"),
        (Columns.criteo().to_json(), "RAW.tsv"),
        ({"format": "csv"}, "RAW.csv"),
        ({"format": "tsv"}, "RAW.tsv"),
        ({"format": "parquet"}, "RAW.parquet"),
    ],
)
def test_a_log_that_is_not_here_has_a_name_of_its_format(columns, name):
    path = log_to_score(None, Path("data"), schema(columns, ("gone.csv", 3)))
    assert path == Path(name)
    assert log_to_score(None, Path("data"), FeatureSchema((), (), columns=columns)) == (
        Path(name)
    )


def test_the_log_itself_is_named_where_it_is(tmp_path, monkeypatch):
    data_dir = tmp_path / "data" / "clicks"
    columns = schema({"format": "csv"}, ("part 1.csv", 3), ("part 2.csv", 4))
    (tmp_path / "part 2.csv").write_text("abcd")
    assert log_to_score(None, data_dir, columns) == tmp_path / "part 2.csv"
    (tmp_path / "part 2.csv").write_text("another")
    assert log_to_score(None, data_dir, columns) == Path("RAW.csv")
    monkeypatch.chdir(tmp_path)
    Path("part 1.csv").write_text("abc")
    assert log_to_score(None, Path("data/clicks"), columns) == Path("part 1.csv")
    assert log_to_score(Path("other"), Path("data/clicks"), columns) == Path("other")
