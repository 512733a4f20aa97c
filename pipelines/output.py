"""The data set directory: whole or not there at all, and made only once."""

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from tfdlrm.config import PrepareConfig
from tfdlrm.errors import InputError
from tfdlrm.schema import FILE_NAME, FeatureSchema


def describe_source(raw: Sequence[Path], config: PrepareConfig) -> dict[str, Any]:
    """The inputs and settings of a data set, as its schema records them.

    Args:
        raw: The raw files.
        config: The settings.

    Returns:
        A dictionary that JSON keeps as it is.

    Raises:
        InputError: If a file is missing.
    """
    return {
        "files": [_describe_file(path) for path in raw],
        "settings": {
            each.name: getattr(config, each.name) for each in fields(PrepareConfig)
        },
    }


def _describe_file(path: Path) -> dict[str, Any]:
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}; expected a raw Criteo file"
        ) from None
    return {
        "name": path.name,
        "bytes": stat.st_size,
        "modified": stat.st_mtime_ns,
    }


def existing_data_set(output: Path, source: dict[str, Any]) -> FeatureSchema | None:
    """The data set that `output` already holds, if it is the one that is asked for.

    Args:
        output: The data set directory; it may not exist, or be empty.
        source: Inputs and settings of the data set that is asked for.

    Returns:
        Its schema, or `None` when there is nothing yet.

    Raises:
        InputError: If it holds something else, or the data set is damaged.
    """
    if not output.exists():
        return None
    if not output.is_dir():
        raise InputError(f"{output} is a file, expected a directory to make")
    if not (output / FILE_NAME).exists():
        if any(output.iterdir()):
            raise InputError(
                f"{output} exists and is not a data set, expected a new or an empty "
                "directory: give another --output"
            )
        return None
    schema = FeatureSchema.load(output)
    difference = _first_difference(schema.source, source)
    if difference:
        raise InputError(
            f"{output} holds a data set that was made differently: {difference}; give "
            "another --output, or remove it"
        )
    schema.check_shards(output)
    return schema


def _first_difference(there: dict[str, Any] | None, now: dict[str, Any]) -> str | None:
    if there is None or there.keys() != now.keys():
        return "it does not say from what"
    for name, value in now["settings"].items():
        if there["settings"].get(name) != value:
            return f"{name} {there['settings'].get(name)} there, {value} now"
    names_there, names_now = (
        [file["name"] for file in source["files"]] for source in (there, now)
    )
    if names_there != names_now:
        return f"from {', '.join(names_there)} there, {', '.join(names_now)} now"
    for file_there, file_now in zip(there["files"], now["files"], strict=True):
        if file_there["bytes"] != file_now["bytes"]:
            sizes = f"{file_there['bytes']:,} bytes there, {file_now['bytes']:,} now"
            return f"{file_now['name']} had {sizes}"
        if file_there["modified"] != file_now["modified"]:
            return f"{file_now['name']} was modified since"
    return None


@contextmanager
def building(output: Path) -> Iterator[Path]:
    """A directory beside `output` that becomes `output` if all goes well.

    Whatever goes wrong, an interrupt too, leaves nothing behind; what a killed
    process left is removed at the next start.

    Args:
        output: The directory to make.

    Yields:
        The directory to write into.

    Raises:
        InputError: If another process is making the same directory, or the disk
            refuses.
    """
    target = output.resolve()
    partial = target.with_name(f".{target.name}.partial")
    try:
        with _only_process(partial):
            try:
                yield partial
                partial.replace(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"{output} cannot be written: {reason}; expected a writable directory "
            "with as much room as the raw text takes unzipped"
        ) from error


@contextmanager
def _only_process(partial: Path) -> Iterator[None]:
    """Hold `partial` as a new, empty directory that no other process builds in."""
    partial.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InputError(
            f"{partial} is in use: another process prepares the same data set; wait "
            "for it, or give another --output"
        ) from None
    try:
        for stale in partial.iterdir():
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
        yield
    finally:
        os.close(descriptor)
