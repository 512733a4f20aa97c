"""The versions of a model, each of which appears complete or not at all."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfdlrm.base import directories, storage
from tfdlrm.base.errors import InputError
from tfdlrm.exporting.manifest import (
    EXTRA_DIRECTORY,
    MODEL_FILE,
    check_version,
    write_manifest,
)

CARD_FILE = "model.json"
BASELINES_FILE = "baselines.npz"
WARM_UP_FILE = "tf_serving_warmup_requests"
MAX_VERSION = 2**63 - 1

log = logging.getLogger("tfdlrm.serving")

_reported: set[Path] = set()
"""Directories that a warning has named already."""


@contextmanager
def new_version(export_dir: Path) -> Iterator[tuple[Path, Path]]:
    """Provide a directory that becomes the next version of a model, or nothing.

    The manifest completes a version. Processes of this machine that write to the same
    `export_dir` wait for each other.

    Args:
        export_dir: Directory of the versions; it need not exist.

    Yields:
        The future directory of the version, and the local directory to write it to.

    Raises:
        InputError: If `export_dir` cannot be made, or no version can follow those in
            it.
    """
    export_dir = storage.at(export_dir)
    directories.make_directory("export_dir", export_dir)
    with directories.only_process(export_dir):
        _remove_remains(export_dir)
        target = export_dir / str(next_version(export_dir))
        with directories.new_directory(target, last=MODEL_FILE) as directory:
            yield target, directory
            write_manifest(directory)


def next_version(export_dir: Path) -> int:
    """Return the number of the version that an export would write.

    Raises:
        InputError: If a server would not look at any higher number.
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
    """Remove remains of versions after killed processes; no other process may write."""
    if not storage.is_remote(export_dir):
        for path in export_dir.glob(".*"):
            if re.fullmatch(r"\.[0-9]+\.(partial|removed)", path.name):
                directories.remove_tree(path)


def find_export(export_dir: Path, origin: dict[str, Any]) -> Path | None:
    """Return the undamaged version that was exported from some weights, if any.

    Args:
        export_dir: Directory of the versions.
        origin: Identifies the weights: the `origin` in the card of the version.
    """
    versions = versions_in(storage.at(export_dir))
    for number in sorted(versions, reverse=True):
        version = versions[number]
        try:
            card = json.loads((version / EXTRA_DIRECTORY / CARD_FILE).read_bytes())
            if card.get("origin") == origin and check_version(version):
                return version
        except (OSError, ValueError, AttributeError):  # no such card, or damaged
            continue
    return None


def is_whole(version: Path) -> bool:
    """Return whether a directory holds a SavedModel.

    On an object store its graph is written last.
    """
    return (version / MODEL_FILE).is_file()


def newest_whole(path: Path) -> Path | None:
    """Return the directory of a version, or that of the newest version in it, if any.

    Args:
        path: Directory of a version, or of versions.
    """
    if is_whole(path):
        return path
    versions = {
        number: version
        for number, version in versions_in(path).items()
        if is_whole(version)
    }
    return versions[max(versions)] if versions else None


def versions_in(export_dir: Path) -> dict[int, Path]:
    """Return the directories of the versions; half-written ones have other names.

    If both `1` and `01` exist, which are one number, `1` is the version.

    Raises:
        OSError: If the directory exists and cannot be read.
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
    # The dictionary keeps the last entry of a number, the shortest name.
    entries.sort(key=lambda entry: (-len(entry.name), entry.name))
    versions = {int(entry.name): entry for entry in entries}
    for entry in entries:
        version = versions[int(entry.name)]
        if version != entry and entry not in _reported:
            _reported.add(entry)
            log.warning("%s is no version: %s has its number", entry, version)
    return versions


def prune(export_dir: Path, keep: int) -> list[Path]:
    """Remove all versions except the newest.

    Args:
        export_dir: Directory of the versions.
        keep: Number of versions that stay.

    Returns:
        The directories of the removed versions.
    """
    versions = versions_in(storage.at(export_dir))
    old_paths = [versions[number] for number in sorted(versions)[:-keep]]
    for path in old_paths:
        remove_version(path)
    return old_paths


def remove_version(path: Path) -> None:
    """Remove a version, if it exists."""
    if not storage.is_remote(path) and path.is_dir():
        # Renamed first, so that no server finds half a version.
        hidden_path = path.with_name(f".{path.name}.removed")
        directories.remove_tree(hidden_path)
        path = path.rename(hidden_path)
    directories.remove_tree(path)
