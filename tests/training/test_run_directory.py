"""Owners of run directories, and damage to their files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.small_runs import config_for
from tfdlrm.base.errors import InputError
from tfdlrm.config import CheckpointConfig
from tfdlrm.training.run_directory import RunDirectory


@pytest.fixture
def begun(tmp_path):
    """Return a directory whose run was begun."""
    with RunDirectory.opened(config_for(tmp_path)):
        return tmp_path


def test_other_settings_are_refused(begun):
    config = config_for(begun, epochs=3)
    with (
        pytest.raises(InputError, match="epochs: 2 there, epochs: 3 now"),
        RunDirectory.opened(config),
    ):
        pass


@pytest.mark.parametrize(
    "changes",
    [
        {"export_dir": Path("elsewhere")},
        {"data_dir": Path("moved/data")},
        {"profile_steps": (2, 3)},
        {"checkpoints": CheckpointConfig(minutes=1, keep=5)},
        {"tables": "host"},
    ],
)
def test_what_changes_no_number_may_be_another(begun, changes):
    config = replace(config_for(begun), **changes)
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


DAMAGES = {
    "emptied": lambda contents: b"",
    "zeros": lambda contents: bytes(len(contents)),
    "not UTF-8": lambda contents: b"\xff" + contents,
    "a quote": lambda contents: contents.replace(b"epochs: ", b'epochs: "'),
    "a list": lambda contents: b"- epochs",
}


def damage(path, name):
    path.write_bytes(DAMAGES[name](path.read_bytes()))


@pytest.fixture
def checkpointed(begun):
    """Return a directory that seems to have a checkpoint."""
    (begun / "checkpoints" / "step-0000000001").mkdir(parents=True)
    return begun


def begin(directory):
    with RunDirectory.opened(config_for(directory)) as run:
        return run


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_settings_are_refused_in_one_line(checkpointed, name):
    damage(checkpointed / "config.yaml", name)
    refusals = []
    for use in (
        begin,
        lambda path: RunDirectory(path).load_config(),
        lambda path: RunDirectory(path).settings,
    ):
        with pytest.raises(
            InputError, match=r"config\.yaml is damaged \("
        ) as error_info:
            use(checkpointed)
        refusals.append(str(error_info.value))
    assert all("\n" not in refusal for refusal in refusals)
    assert all("remove the file, and settings.json" in refusal for refusal in refusals)


def test_settings_that_are_lost_are_taken_from_their_copy(checkpointed, capsys):
    (checkpointed / "config.yaml").unlink()
    run = RunDirectory(checkpointed)
    assert run.load_config() == config_for(checkpointed)
    assert "config.yaml is missing: settings.json" in capsys.readouterr().out
    with (
        pytest.raises(InputError, match="epochs: 2 there, epochs: 3 now"),
        RunDirectory.opened(config_for(checkpointed, epochs=3)),
    ):
        pass
    begin(checkpointed)
    assert (checkpointed / "config.yaml").is_file()


def test_without_the_copy_damaged_settings_are_to_be_put_back(checkpointed):
    (checkpointed / "settings.json").write_text("{}x")
    damage(checkpointed / "config.yaml", "emptied")
    with pytest.raises(InputError, match="put back a copy of the file"):
        begin(checkpointed)


def test_a_run_without_checkpoints_begins_again(begun, capsys):
    damage(begun / "config.yaml", "emptied")
    run = begin(begun)
    assert "no checkpoint, the run begins again" in capsys.readouterr().out
    assert run.load_config() == config_for(begun)


def test_a_setting_that_was_changed_by_hand_is_told(begun, capsys):
    path = begun / "config.yaml"
    path.write_text(path.read_text().replace("data_dir: null", "data_dir: moved"))
    assert RunDirectory(begun).load_config().data_dir == Path("moved")
    assert capsys.readouterr().out == ""
    path.write_text(path.read_text().replace("epochs: 2", "epochs: 6"))
    assert RunDirectory(begun).load_config().epochs == 6
    output = capsys.readouterr().out
    assert "was changed since its run began: epochs: 2 there, epochs: 6 now" in output


def test_remains_of_a_killed_process_are_removed(begun):
    for name in (
        ".curves.png.ab.partial",
        ".best.weights.h5.ab.partial.weights.h5",
        "summary.json",
    ):
        (begun / name).touch()
    begin(begun)
    assert {path.name for path in begun.iterdir()} == {"config.yaml", "settings.json"}


@pytest.fixture
def finished(begun):
    """A run with its results."""
    run = RunDirectory(begun)
    run.metrics_file.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n')
    run.measures_file.write_text('{"test": {"auc": 0.75}}')
    run.save_summary(7, Path("models/1"))
    run.report_file.touch()
    return run


def test_results_are_read_back(finished):
    assert finished.load_summary()["parameters"] == 7
    assert finished.measures == {"test": {"auc": 0.75}}
    assert [point["loss"] for point in finished.load_curves()] == [0.5, 0.25]


@pytest.mark.parametrize("name", ["metrics.jsonl", "metrics.json", "summary.json"])
def test_one_bit_of_the_results_is_noticed(finished, name):
    path = finished.path / name
    good = path.read_bytes()
    for bit in range(0, 8 * len(good), 7):
        contents = bytearray(good)
        contents[bit // 8] ^= 1 << bit % 8
        path.write_bytes(contents)
        try:
            results = finished.load_summary(), finished.measures, finished.load_curves()
        except InputError as error:
            assert f"{name} is damaged" in str(error) and "\n" not in str(error)
        else:  # a name of a checksum
            assert results[0]["parameters"] == 7
    path.write_bytes(b"")
    with pytest.raises(InputError, match=f"{name} is damaged"):
        finished.load_summary(), finished.measures, finished.load_curves()


def test_results_of_an_earlier_release_are_read(finished):
    finished.summary_file.write_text('{"parameters": 7, "peak_memory": 1}')
    assert finished.load_summary() == {"parameters": 7, "peak_memory": 1}
    assert finished.measures == json.loads(finished.measures_file.read_text())
