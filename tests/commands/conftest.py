"""The input and the output of preparing, and training without an export."""

import pytest

from tests.support.plain_data_sets import ROWS
from tests.support.raw_rows import write_rows
from tfdlrm.exporting import saved_model


@pytest.fixture
def raw(tmp_path):
    """A raw file of `ROWS`."""
    return write_rows(tmp_path / "train.txt", ROWS)


@pytest.fixture
def output(tmp_path):
    """A directory that does not exist yet."""
    return tmp_path / "data"


@pytest.fixture
def no_export(monkeypatch):
    """Write no model after training, which takes longer than a small run."""

    def name_only(model, schema, data_dir, export_dir, card, **options):
        return export_dir / "1"

    monkeypatch.setattr(saved_model, "export_model", name_only)
