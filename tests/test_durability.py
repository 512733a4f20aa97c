"""A renamed file or directory is on the disk first: a power cut leaves it whole."""

import os
import shutil
from pathlib import Path

import pytest

from pipelines.journal import Journal
from pipelines.kept_files import keep
from pipelines.prepare import prepare
from tests.test_resume import CONFIG, files_of, raw, small_pieces
from tfdlrm import storage

__all__ = ["raw", "small_pieces"]


@pytest.fixture
def disk(monkeypatch):
    """Everything that is synced or renamed, in order."""
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
    (first, aside), *others = disk
    assert first == "sync" and aside.name.startswith(".a.json.")
    assert others == [("rename", tmp_path / "a.json"), ("sync", tmp_path)]


def test_a_directory_is_synced_with_all_its_files_before_the_old_one_goes(
    disk, tmp_path
):
    target = tmp_path / "model"
    target.mkdir()
    with storage.new_directory(target, last="b") as aside:
        (aside / "variables").mkdir(parents=True)
        (aside / "variables" / "a").write_text("a")
    synced = [path for event, path in disk if event == "sync"]
    assert synced == [
        aside / "variables" / "a",
        aside / "variables",
        aside,
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
    assert list(Journal(tmp_path / "work" / "journal.jsonl").kept()) == files


class Disk:
    """What a power cut leaves: the contents that were synced, under their names."""

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
        """Leave in `directory` only what is on the disk."""
        shutil.rmtree(directory, ignore_errors=True)
        for path, contents in self.files.items():
            if path.is_relative_to(directory):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(contents)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    "kind",
    ["encoded", *(pytest.param(k, marks=pytest.mark.slow) for k in ("piece", "ids"))],
)
def test_after_a_power_cut_preparing_goes_on_with_all_that_the_journal_says(
    raw, tmp_path, monkeypatch, capsys, kind
):
    prepare(raw, tmp_path / "whole", CONFIG)
    output = tmp_path / "data"
    add = Journal.add

    def add_and_stop(journal, name, entry):
        add(journal, name, entry)
        if name == kind and journal.count(kind) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        disk = Disk(patch)
        patch.setattr(Journal, "add", add_and_stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(raw, output, CONFIG)
    partial = tmp_path / ".data.partial"
    disk.restore(partial)
    num_lines = len((partial / "work" / "journal.jsonl").read_bytes().splitlines())
    assert num_lines > 3
    capsys.readouterr()
    prepare(raw, output, CONFIG)
    said = capsys.readouterr().out
    assert "going on with what an earlier run left" in said
    assert "made again" not in said
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
