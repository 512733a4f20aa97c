"""Build a data set directory so that it is complete or absent, in one process."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.stages.journal import Journal
from pipelines.stages.provenance import first_difference
from tfdlrm.base import directories, storage
from tfdlrm.base.errors import InputError
from tfdlrm.base.version import __version__


@dataclass(frozen=True)
class Building:
    """The directories of a data set that is being built.

    Args:
        directory: The directory that becomes the data set.
        work: Directory for temporary files.
        journal: The steps that are finished, also by earlier runs that were stopped.
    """

    directory: Path
    work: Path
    journal: Journal


@contextmanager
def build_in(
    output: Path, source: dict[str, Any], engine: str, stays: bool = True
) -> Iterator[Building]:
    """Yield a directory that becomes `output` if all goes well.

    It is next to `output`. The work of a killed or interrupted process is resumed when
    it has the same inputs, settings, version and engine. After any other failure
    nothing is left.

    Args:
        output: The directory to make.
        source: Inputs and settings, from `describe_source`.
        engine: Name of the engine.
        stays: Whether the next run will find what an interrupted one has finished.

    Yields:
        The directories to write to.

    Raises:
        InputError: If another process is making the same directory, or the disk
            refuses.
    """
    partial = _partial(output)
    try:
        with _only_process(partial):
            try:
                building = _begin(partial, source, engine)
                yield building
                storage.remove_temporary_files(building.directory)
                storage.rename(building.directory, output.resolve())
            except KeyboardInterrupt:
                if stays:
                    print(
                        f"{partial} keeps what is done: the same command continues "
                        "from there",
                        file=sys.stderr,
                    )
                raise
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            shutil.rmtree(partial)
    except OSError as error:
        reason = error.strerror or str(error)
        size = sum(file["bytes"] for file in source["files"])
        raise InputError(
            f"{output} cannot be written: {reason}; expected a writable directory "
            "with as much room as the raw text takes unzipped "
            f"({size / 1e9:,.1f} GB as stored): make room, or give another directory"
        ) from error


def remove_remains(output: Path) -> None:
    """Remove the files of a process that was killed just when `output` was complete."""
    partial = _partial(output)
    if partial.exists():
        with _only_process(partial):
            shutil.rmtree(partial)


def go_back(building: Building, problem: str | None = None) -> None:
    """Forget the finished steps whose files are damaged or missing, and print which.

    Args:
        building: The directories of the run.
        problem: A problem that was noticed already, in words.
    """
    problems = building.journal.go_back()
    if problem is not None and not problems:
        problems = [problem]
    for name in ("data", "work"):
        (building.work.parent / name).mkdir(exist_ok=True)
    if problems:
        in_all = f" ({len(problems)} files in all)" if len(problems) > 1 else ""
        print(f"{problems[0]}{in_all}: made again")


def start_again(
    building: Building, source: dict[str, Any], engine: str, reason: str
) -> Building:
    """Forget all finished steps of an earlier run, and print why."""
    partial = building.work.parent
    print(f"starting again instead of resuming {partial}: {reason}")
    return _new(partial, source, engine)


def _partial(output: Path) -> Path:
    target = output.resolve()
    return target.with_name(f".{target.name}.partial")


def _begin(partial: Path, source: dict[str, Any], engine: str) -> Building:
    building = Building(partial / "data", partial / "work", _journal(partial))
    begin_entry = building.journal.last("begin")
    if building.journal.damage:
        print(f"{building.journal.damage}: steps from that line on are done again")
    elif begin_entry is None and any(partial.iterdir()):
        print(f"{partial} has lost its journal: starting again")
    if begin_entry is None:
        return _new(partial, source, engine)
    if begin_entry["version"] != __version__:
        reason = f"version {begin_entry['version']} began it, this is {__version__}"
        return start_again(building, source, engine, reason)
    difference = first_difference(begin_entry["source"], source)
    if difference is None and begin_entry["engine"] != engine:
        difference = f"engine was {begin_entry['engine']}, is {engine}"
    if difference:
        return start_again(building, source, engine, difference)
    storage.remove_temporary_files(partial)
    print(f"resuming an earlier run from {partial}")
    go_back(building)
    return building


def _new(partial: Path, source: dict[str, Any], engine: str) -> Building:
    for stale in partial.iterdir():
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    for name in ("data", "work"):
        (partial / name).mkdir()
    for directory in (partial, partial.parent):
        storage.sync(directory)
    journal = _journal(partial)
    journal.add("begin", {"version": __version__, "engine": engine, "source": source})
    return Building(partial / "data", partial / "work", journal)


def _journal(partial: Path) -> Journal:
    return Journal(partial / "work" / "journal.jsonl")


@contextmanager
def _only_process(partial: Path) -> Iterator[None]:
    """Lock `partial` so that no other process builds in it."""
    partial.mkdir(parents=True, exist_ok=True)
    with directories.only_process(
        partial,
        f"{partial} is in use: another process prepares the same data set; wait for "
        "it, or give another directory",
    ):
        yield
