"""Whose a run directory is."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.small_runs import config_for
from tfdlrm.config import CheckpointConfig
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


@pytest.mark.parametrize(
    "others",
    [
        {"export_dir": Path("elsewhere")},
        {"data_dir": Path("moved/data")},
        {"profile_steps": (2, 3)},
        {"checkpoints": CheckpointConfig(minutes=1, keep=5)},
        {"tables": "host"},
    ],
)
def test_what_changes_no_number_may_be_another(begun, others):
    config = replace(config_for(begun), **others)
    with RunDirectory.opened(config) as run:
        assert run.load_config() == config


def test_the_directory_may_be_spelled_otherwise(begun, monkeypatch):
    monkeypatch.chdir(begun.parent)
    with RunDirectory.opened(config_for(Path(begun.name))) as run:
        assert run.path == Path(begun.name)


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
