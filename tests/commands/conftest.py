"""The input and the output of preparing, for the tests that prepare."""

import pytest

from tests.support.plain_data_sets import ROWS
from tests.support.raw_rows import write_rows


@pytest.fixture
def raw(tmp_path):
    """A raw file of `ROWS`."""
    return write_rows(tmp_path / "train.txt", ROWS)


@pytest.fixture
def output(tmp_path):
    """A directory that does not exist yet."""
    return tmp_path / "data"
