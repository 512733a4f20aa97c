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
