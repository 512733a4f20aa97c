"""Data sets of a shop, for the tests of what ids and labels mean."""

import pytest

from tests.support.made_once import made_once
from tests.support.shop import make_shop


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """Directory of logs, data sets, a run of the first data set, and its model."""
    return made_once(tmp_path_factory, "shop", make_shop)
