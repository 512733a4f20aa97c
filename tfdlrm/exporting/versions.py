"""The versions of a model, each of which appears complete or not at all."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.exporting.manifest import (
    EXTRA_DIRECTORY,
    MODEL_FILE,
    check_version,
    write_manifest,
)

CARD_FILE = "model.json"
WARM_UP_FILE = "tf_serving_warmup_requests"
MAX_VERSION = 2**63 - 1

log = logging.getLogger("tfdlrm.serving")

_told: set[Path] = set()
"""Directories that were said to be no versions, which is not said again."""


@contextmanager
def new_version(export_dir: Path) -> Iterator[tuple[Path, Path]]:
    """Give a path for what then becomes the next version of a model, or nothing.

    A version is whole once its manifest is in it. Processes of this machine that write
    to one directory wait for each other.

    Args:
        export_dir: Directory of the versions; it need not exist.

    Yields:
        The version's directory, and the local one to write it to.

    Raises:
        InputError: If `export_dir` cannot be made, or no version can follow those in
            it.
    """
    export_dir = storage.at(export_dir)
    storage.make_directory("export_dir", export_dir)
    with storage.only_process(export_dir):
        _remove_remains(export_dir)
        target = export_dir / str(next_version(export_dir))
        with storage.new_directory(target, last=MODEL_FILE) as aside:
            yield target, aside
            write_manifest(aside)


def next_version(export_dir: Path) -> int:
    """Return the number of the version that an export would write.

    Raises:
        InputError: If there is none that a server would look at.
    """
    newest = max(versions_in(storage.at(export_dir)), default=0)
    if newest == MAX_VERSION:
        raise InputError(
            f"{export_dir} holds version {newest}, the highest that there can be, so "
            "that a server would look at no newer one: rename that directory, or give "
            "another export_dir"
        )
    return newest + 1


def _remove_remains(export_dir: Path) -> None:
    """Remove what killed processes left of versions, while no other process writes."""
    if not storage.is_remote(export_dir):
        for path in export_dir.glob(".*"):
            if re.fullmatch(r"\.[0-9]+\.(partial|removed)", path.name):
                storage.remove_tree(path)


def find_export(export_dir: Path, origin: dict[str, Any]) -> Path | None:
    """Return the version that was exported from some weights, if it is there and whole.

    Args:
        export_dir: Directory of the versions.
        origin: What its card has as `origin`.
    """
    versions = versions_in(storage.at(export_dir))
    for number in sorted(versions, reverse=True):
        version = versions[number]
        try:
            card = json.loads((version / EXTRA_DIRECTORY / CARD_FILE).read_bytes())
            if card.get("origin") == origin and check_version(version):
                return version
        except (OSError, ValueError, AttributeError):  # another one, or damaged
            continue
    return None


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
