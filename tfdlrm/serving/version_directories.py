"""The versions of a model, each of which appears complete or not at all."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfdlrm import storage

MODEL_FILE = "saved_model.pb"


def next_version(export_dir: Path) -> Path:
    """The directory that the next version of a model is to have."""
    export_dir = storage.at(export_dir)
    return export_dir / str(max(versions_in(export_dir), default=0) + 1)


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """As `storage.new_directory`, for a version of a model."""
    with storage.new_directory(target, last=MODEL_FILE) as aside:
        yield aside


def is_whole(version: Path) -> bool:
    """Whether a directory is a SavedModel, which on an object store it is last."""
    return (version / MODEL_FILE).is_file()


def versions_in(export_dir: Path) -> list[int]:
    """The numbers of the versions there, in no order."""
    if not export_dir.is_dir():
        return []
    names = (entry.name for entry in export_dir.iterdir())
    return [int(each) for each in names if re.fullmatch(r"0|[1-9][0-9]*", each)]


def prune(export_dir: Path, keep: int) -> list[Path]:
    """Remove all versions but the newest.

    Args:
        export_dir: Directory of the versions.
        keep: How many stay.

    Returns:
        Those that were removed.
    """
    removed = []
    export_dir = storage.at(export_dir)
    for version in sorted(versions_in(export_dir))[:-keep]:
        removed.append(export_dir / str(version))
        remove_version(removed[-1])
    return removed


def remove_version(path: Path) -> None:
    """Remove a version, if it is there."""
    if not storage.is_remote(path) and path.is_dir():
        # Renamed first, so that no server finds half of it.
        aside = path.with_name(f".{path.name}.removed")
        storage.remove_tree(aside)
        path = path.rename(aside)
    storage.remove_tree(path)
