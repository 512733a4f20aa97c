"""The versions of a model, each of which appears complete or not at all."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfdlrm import storage
from tfdlrm.errors import InputError

MODEL_FILE = "saved_model.pb"
EXTRA_DIRECTORY = "assets.extra"
"""TF Serving's place for files that travel with a model but are not in its graph."""
CARD_FILE = "model.json"
WARM_UP_FILE = "tf_serving_warmup_requests"
MAX_VERSION = 2**63 - 1

log = logging.getLogger("tfdlrm.serving")

_told: set[Path] = set()
"""Directories that were said to be no versions, which is not said again."""


@contextmanager
def new_version(export_dir: Path) -> Iterator[tuple[Path, Path]]:
    """Give a path for what then becomes the next version of a model, or nothing.

    Processes of this machine that write to one directory wait for each other.

    Args:
        export_dir: Directory of the versions; it need not exist.

    Yields:
        The version's directory, and the local one to write it to.

    Raises:
        InputError: If `export_dir` cannot be made, or has the last number there is.
    """
    export_dir = storage.at(export_dir)
    storage.make_directory("export_dir", export_dir)
    with storage.only_process(export_dir):
        last = max(versions_in(export_dir), default=0)
        if last == MAX_VERSION:
            raise InputError(
                f"{export_dir} has version {last}, and no server looks at a larger "
                "number: expected room for one more; rename or remove that directory"
            )
        target = export_dir / str(last + 1)
        with storage.new_directory(target, last=MODEL_FILE) as aside:
            yield target, aside


def is_whole(version: Path) -> bool:
    """Whether a directory is a SavedModel, which on an object store it is last."""
    return (version / MODEL_FILE).is_file()


def versions_in(export_dir: Path) -> dict[int, Path]:
    """The directories of the versions; half-written ones have other names.

    Of `1` and `01` side by side, which are one number, it is `1`.

    Raises:
        OSError: If the directory is there and cannot be read.
    """
    if not export_dir.is_dir():
        return {}
    entries = [
        entry
        for entry in export_dir.iterdir()
        if re.fullmatch("[0-9]{1,19}", entry.name)
        and int(entry.name) <= MAX_VERSION
        and entry.is_dir()
    ]
    # The last one of a number stays.
    entries.sort(key=lambda entry: (-len(entry.name), entry.name))
    versions = {int(entry.name): entry for entry in entries}
    for entry in entries:
        taken = versions[int(entry.name)]
        if taken != entry and entry not in _told:
            _told.add(entry)
            log.warning("%s is no version: %s has its number", entry, taken)
    return versions


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
