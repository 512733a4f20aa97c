"""A data set directory is whole or not there at all, and made by one process."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.stages.journal import Journal
from pipelines.stages.provenance import first_difference
from tfdlrm.base import aside, storage
from tfdlrm.base.errors import InputError
from tfdlrm.base.version import __version__


@dataclass(frozen=True)
class Building:
    """Where a data set is being made.

    Args:
        directory: What becomes the data set.
        work: For what is needed only meanwhile.
        journal: What an earlier run, that was stopped, has finished.
    """

    directory: Path
    work: Path
    journal: Journal


@contextmanager
def building(
    output: Path, source: dict[str, Any], engine: str, stays: bool = True
) -> Iterator[Building]:
    """A directory that becomes `output` if all goes well.

    It lies beside `output`. What a killed or interrupted process left there is gone on
    with when it was made from the same inputs by the same settings, version and engine;
    whatever else goes wrong leaves nothing behind.

    Args:
        output: The directory to make.
        source: Inputs and settings, from `describe_source`.
        engine: Name of the engine.
        stays: Whether what an interrupt leaves is there for the next run.

    Yields:
        Where to write.

    Raises:
        InputError: If another process is making the same directory, or the disk
            refuses.
    """
    partial = _partial(output)
    try:
        with _only_process(partial):
            try:
                place = _begin(partial, source, engine)
                yield place
                aside.remove_remains(place.directory)
                storage.rename(place.directory, output.resolve())
            except KeyboardInterrupt:
                if stays:
                    told = "keeps what is done: the same command goes on from there"
                    print(f"{partial} {told}", file=sys.stderr)
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
    """Remove what a process left that was killed just when `output` was complete."""
    partial = _partial(output)
    if partial.exists():
        with _only_process(partial):
            shutil.rmtree(partial)


def go_back(place: Building, problem: str | None = None) -> None:
    """Forget what a run has finished whose files are not whole, saying what is lost.

    Args:
        place: What the run left.
        problem: What is known to be wrong already, in words.
    """
    lost = place.journal.go_back()
    if problem is not None and not lost:
        lost = [problem]
    for name in ("data", "work"):
        (place.work.parent / name).mkdir(exist_ok=True)
    if lost:
        in_all = f" ({len(lost)} files in all)" if len(lost) > 1 else ""
        print(f"{lost[0]}{in_all}: what was lost is made again")


def start_again(
    place: Building, source: dict[str, Any], engine: str, reason: str
) -> Building:
    """Forget what an earlier run has finished, saying why."""
    partial = place.work.parent
    print(f"starting anew instead of going on in {partial}: {reason}")
    return _new(partial, source, engine)


def _partial(output: Path) -> Path:
    target = output.resolve()
    return target.with_name(f".{target.name}.partial")


def _begin(partial: Path, source: dict[str, Any], engine: str) -> Building:
    place = Building(partial / "data", partial / "work", _journal(partial))
    begun = place.journal.last("begin")
    if place.journal.damage:
        print(f"{place.journal.damage}: what it and later lines say is made again")
    elif begun is None and any(partial.iterdir()):
        print(f"{partial} has lost its journal: starting anew")
    if begun is None:
        return _new(partial, source, engine)
    if begun["version"] != __version__:
        reason = f"version {begun['version']} began it, this is {__version__}"
        return start_again(place, source, engine, reason)
    difference = first_difference(begun["source"], source)
    if difference is None and begun["engine"] != engine:
        difference = f"engine {begun['engine']} there, {engine} now"
    if difference:
        return start_again(place, source, engine, difference)
    aside.remove_remains(partial)
    print(f"going on with what an earlier run left in {partial}")
    go_back(place)
    return place


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
    """Hold `partial` so that no other process builds in it."""
    partial.mkdir(parents=True, exist_ok=True)
    with storage.only_process(
        partial,
        f"{partial} is in use: another process prepares the same data set; wait for "
        "it, or give another directory",
    ):
        yield
