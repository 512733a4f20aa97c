"""Whose a run directory is."""

import pytest

from tests.small_runs import config_for
from tfdlrm.errors import InputError
from tfdlrm.run_directory import RunDirectory


@pytest.fixture
def begun(tmp_path):
    """A directory whose run was begun."""
    with RunDirectory.opened(config_for(tmp_path)):
        return tmp_path


def test_other_settings_are_refused(begun):
    other = config_for(begun, epochs=3)
    with (
        pytest.raises(InputError, match="epochs: 2 there, epochs: 3 now"),
        RunDirectory.opened(other),
    ):
        pass


def test_a_finished_run_is_refused(begun):
    (begun / "report.md").touch()
    with (
        pytest.raises(InputError, match="in use already"),
        RunDirectory.opened(config_for(begun)),
    ):
        pass


def test_a_directory_is_for_one_process_at_a_time(tmp_path):
    config = config_for(tmp_path)
    with (
        RunDirectory.opened(config),
        pytest.raises(InputError, match="another process"),
        RunDirectory.opened(config),
    ):
        pass


def test_what_blocks_inside_is_not_taken_for_another_process(tmp_path):
    with pytest.raises(BlockingIOError), RunDirectory.opened(config_for(tmp_path)):
        raise BlockingIOError
