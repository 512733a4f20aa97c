"""The versions of a model, each of which appears complete or not at all."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfdlrm import storage

MODEL_FILE = "saved_model.pb"
EXTRA_DIRECTORY = "assets.extra"
"""TF Serving's place for files that travel with a model but are not in its graph."""
CARD_FILE = "model.json"
WARM_UP_FILE = "tf_serving_warmup_requests"
MAX_VERSION = 2**63 - 1


@contextmanager
def new_version(export_dir: Path) -> Iterator[tuple[Path, Path]]:
    """Give a path for what then becomes the next version of a model, or nothing.

    Processes of this machine that write to one directory wait for each other.

    Args:
        export_dir: Directory of the versions; it need not exist.

    Yields:
        The version's directory, and the local one to write it to.

    Raises:
        InputError: If `export_dir` cannot be made.
    """
    export_dir = storage.at(export_dir)
    storage.make_directory("export_dir", export_dir)
    with storage.only_process(export_dir):
        target = export_dir / str(max(versions_in(export_dir), default=0) + 1)
        with storage.new_directory(target, last=MODEL_FILE) as aside:
            yield target, aside


def is_whole(version: Path) -> bool:
    """Whether a directory is a SavedModel, which on an object store it is last."""
    return (version / MODEL_FILE).is_file()


def versions_in(export_dir: Path) -> dict[int, Path]:
    """The directories of the versions; half-written ones have other names.

    Raises:
        OSError: If the directory is there and cannot be read.
    """
    if not export_dir.is_dir():
        return {}
    return {
        int(entry.name): entry
        for entry in export_dir.iterdir()
        if re.fullmatch("[0-9]{1,19}", entry.name)
        and int(entry.name) <= MAX_VERSION
        and entry.is_dir()
    }


def prune(export_dir: Path, keep: int) -> list[Path]:
    """Remove all versions but the newest.

    Args:
        export_dir: Directory of the versions.
        keep: How many stay.

    Returns:
        Those that were removed.
    """
    there = versions_in(storage.at(export_dir))
    removed = [there[version] for version in sorted(there)[:-keep]]
    for path in removed:
        remove_version(path)
    return removed


def remove_version(path: Path) -> None:
    """Remove a version, if it is there."""
    if not storage.is_remote(path) and path.is_dir():
        # Renamed first, so that no server finds half of it.
        aside = path.with_name(f".{path.name}.removed")
        storage.remove_tree(aside)
        path = path.rename(aside)
    storage.remove_tree(path)
