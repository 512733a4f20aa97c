"""A renamed file or directory is on the disk first: a power cut leaves it whole."""

import os
from pathlib import Path

import pytest

from tfdlrm import storage


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
