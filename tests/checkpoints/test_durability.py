"""Files and directories are on the disk before their final names: power cuts."""

import errno
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from pipelines.prepare import prepare
from pipelines.stages.journal import Journal
from tests.stages.test_resume import CONFIG, raw, small_pieces
from tests.support.prepared_runs import files_of, interrupted_after
from tfdlrm.base import directories, storage
from tfdlrm.base.kept_files import keep
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.checkpoints.entries import Piece
from tfdlrm.exporting.versions import new_version
from tfdlrm.streaming.exports import StreamExports
from tfdlrm.training.best_weights import write_best_weights
from tfdlrm.training.run_directory import RunDirectory

__all__ = ["raw", "small_pieces"]


@pytest.fixture
def disk(monkeypatch):
    """All that is synced or renamed, in order."""
    events = []
    fsync, replace = os.fsync, Path.replace

    def record_sync(descriptor):
        events.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def record_rename(self, target):
        events.append(("rename", Path(target)))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "replace", record_rename)
    return events


def test_a_file_is_synced_before_its_name_and_the_name_after(disk, tmp_path):
    storage.replace_text(tmp_path / "a.json", "{}")
    (first_event, temporary), *later_events = disk
    assert first_event == "sync" and temporary.name.startswith(".a.json.")
    assert later_events == [("rename", tmp_path / "a.json"), ("sync", tmp_path)]


def test_a_directory_is_synced_with_all_its_files_before_the_old_one_goes(
    disk, tmp_path
):
    target = tmp_path / "model"
    target.mkdir()
    with directories.new_directory(target, last="b") as temporary:
        (temporary / "variables").mkdir(parents=True)
        (temporary / "variables" / "a").write_text("a")
    synced = [path for event, path in disk if event == "sync"]
    assert synced == [
        temporary / "variables" / "a",
        temporary / "variables",
        temporary,
        tmp_path,
    ]
    assert disk[-2] == ("rename", target)


def test_the_journal_speaks_only_of_what_is_on_the_disk(disk, tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    (tmp_path / "data").mkdir()
    journal = Journal(tmp_path / "work" / "journal.jsonl")
    files = [tmp_path / "work" / "0.arrow", tmp_path / "data" / "C1.parquet"]
    for path in files:
        path.write_bytes(b"rows")
    journal.add("piece", {"files": journal.note(keep(path) for path in files)})
    synced = [path for _, path in disk]
    assert synced[:2] == files
    assert set(synced[2:4]) == {tmp_path / "work", tmp_path / "data"}
    assert synced[4:] == [tmp_path / "work" / "journal.jsonl"]
    assert list(Journal(tmp_path / "work" / "journal.jsonl").needed_files()) == files


class Disk:
    """The contents that a power cut leaves: synced ones, under their names."""

    def __init__(self, monkeypatch):
        self.files: dict[Path, bytes] = {}
        fsync, replace = os.fsync, Path.replace

        def sync(descriptor):
            fsync(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if path.is_file():
                self.files[path] = path.read_bytes()

        def rename(source, target):
            renamed = replace(source, target)
            for path in list(self.files):
                if path.is_relative_to(source):
                    name = target / path.relative_to(source)
                    self.files[name] = self.files.pop(path)
            return renamed

        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(Path, "replace", rename)

    def restore(self, directory):
        """Replace a directory by what is on the disk."""
        shutil.rmtree(directory, ignore_errors=True)
        for path, contents in self.files.items():
            if path.is_relative_to(directory):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(contents)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    "entry_name",
    ["encoded", *(pytest.param(k, marks=pytest.mark.slow) for k in ("piece", "ids"))],
)
def test_after_a_power_cut_preparing_goes_on_with_all_that_the_journal_says(
    raw, tmp_path, monkeypatch, capsys, entry_name
):
    prepare(raw, tmp_path / "whole", CONFIG)
    output = tmp_path / "data"
    with monkeypatch.context() as patch:
        disk = Disk(patch)
        with interrupted_after(entry_name):
            prepare(raw, output, CONFIG)
    partial = tmp_path / ".data.partial"
    disk.restore(partial)
    num_lines = len((partial / "work" / "journal.jsonl").read_bytes().splitlines())
    assert num_lines > 3
    capsys.readouterr()
    prepare(raw, output, CONFIG)
    messages = capsys.readouterr().out
    assert "resuming an earlier run from" in messages
    assert "made again" not in messages
    assert files_of(output) == files_of(tmp_path / "whole")


@pytest.mark.usefixtures("small_pieces")
def test_after_a_power_cut_a_prepared_data_set_is_whole(raw, tmp_path, monkeypatch):
    output = tmp_path / "data"
    with monkeypatch.context() as patch:
        disk = Disk(patch)
        prepare(raw, output, CONFIG)
    expected = files_of(output)
    disk.restore(output)
    assert files_of(output) == expected


def assert_synced(disk, name, *files):
    """Check that a path and these files were synced before it got its name."""
    renamed = [path.name if event == "rename" else None for event, path in disk]
    position = renamed.index(name)
    synced = [path for event, path in disk[:position] if event == "sync"]
    assert {path.name for path in synced} >= set(files)
    assert any(name in path.name for path in synced)
    assert disk[position + 1] == ("sync", disk[position][1].parent)


def test_a_new_directory_is_on_the_disk_with_those_above_it(disk, tmp_path):
    directories.make_directory("run_dir", tmp_path / "runs" / "long")
    assert set(disk) == {("sync", tmp_path), ("sync", tmp_path / "runs")}
    directories.make_directory("run_dir", tmp_path / "runs" / "long")
    assert len(disk) == 2


def test_a_checkpoint_is_on_the_disk_before_it_counts(disk, tmp_path):
    checkpoints = CheckpointDirectory(tmp_path / "run" / "checkpoints")
    pieces = [Piece("a", np.zeros(3))]
    tables = checkpoints.write_tables(1, pieces)
    checkpoints.write_step(2, {"tables": tables}, pieces)
    for name in ("tables-0000000001", "step-0000000002"):
        assert_synced(disk, name, "variables.pieces")
    assert_synced(disk, "step-0000000002", "state.json")
    assert ("sync", tmp_path / "run") in disk[:3]  # the name of `checkpoints`


def test_settings_and_results_are_on_the_disk_before_they_count(disk, tmp_path):
    run = RunDirectory(tmp_path)
    run._take({"epochs": 2})
    run.save_summary(3, Path("models/1"))
    for name in ("config.yaml", "settings.json", "summary.json"):
        assert_synced(disk, name)


def test_the_best_weights_are_on_the_disk_before_they_replace_others(disk, tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    write_best_weights(model, RunDirectory(tmp_path))
    assert_synced(disk, "best.weights.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["best.weights.h5"]


def test_a_version_is_on_the_disk_before_it_counts(disk, tmp_path):
    with new_version(tmp_path / "models" / "clicks") as (_, temporary):
        temporary.mkdir()
        (temporary / "saved_model.pb").write_bytes(b"graph")
    assert_synced(disk, "1", "saved_model.pb", "manifest.json", "assets.extra")
    assert ("sync", tmp_path / "models") in disk


def test_what_a_stream_exported_is_on_the_disk_before_it_counts(disk, tmp_path):
    StreamExports(tmp_path).add(tmp_path / "1")
    assert_synced(disk, "exports.json")


def test_a_file_system_that_syncs_no_directories_is_left_to_itself(
    tmp_path, monkeypatch
):
    def refuse(descriptor):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    storage.sync(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Invalid argument"):
        storage.sync(tmp_path / "file")
