import pytest

from pipelines.logs.columns_file import load_columns


@pytest.fixture
def load(tmp_path):
    """Read a description of columns from its text."""

    def load(text):
        path = tmp_path / "columns.yaml"
        path.write_text(text, encoding="utf-8")
        return load_columns(path)

    return load
