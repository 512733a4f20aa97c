"""Exported models, each made when a test first asks for it."""

from functools import cache

import pytest

from tests.support.exported_cases import Case


@pytest.fixture(scope="session")
def cases(tmp_path_factory):
    """Function that returns the `Case` of a name."""
    return cache(lambda case_name: Case(case_name, tmp_path_factory.mktemp("case")))
