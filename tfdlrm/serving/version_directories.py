"""The versions of a model, each of which appears complete or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def next_version(export_dir: Path) -> Path:
    """The directory that the next version of a model is to have."""
    return Path(export_dir) / str(max(versions_in(Path(export_dir)), default=0) + 1)


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """Give a path to make a directory at, which then becomes `target`, or nothing."""
    aside = target.with_name(f".{target.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        yield aside
        aside.replace(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def versions_in(export_dir: Path) -> list[int]:
    """The numbers of the versions there, in no order."""
    if not export_dir.is_dir():
        return []
    return [int(entry.name) for entry in export_dir.iterdir() if entry.name.isdigit()]


def prune(export_dir: Path, keep: int) -> list[Path]:
    """Remove all versions but the newest.

    Args:
        export_dir: Directory of the versions.
        keep: How many stay.

    Returns:
        Those that were removed.
    """
    removed = []
    for version in sorted(versions_in(export_dir))[:-keep]:
        path = export_dir / str(version)
        # Renamed first, so that no server finds half of it.
        aside = path.with_name(f".{path.name}.removed")
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        shutil.rmtree(aside)
        removed.append(path)
    return removed
