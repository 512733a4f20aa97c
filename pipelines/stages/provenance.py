"""What a data set is made from, so that it is made only once."""

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from pipelines.logs.checksums import file_checksum
from pipelines.logs.columns_file import load_columns
from pipelines.logs.damage import reading
from pipelines.logs.inputs import Inputs
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.schema import FILE_NAME, FeatureSchema

_WITHOUT_EFFECT = {"memory_budget", "engine", "master"}
"""Settings that change how a data set is made, but none of its bytes."""


def describe_source(raw: Sequence[Path], config: PrepareConfig) -> dict[str, Any]:
    """The inputs and settings of a data set, as its schema records them.

    Args:
        raw: The raw files.
        config: The settings.

    Returns:
        A dictionary that JSON keeps as it is; checksums come from `with_checksums`.

    Raises:
        InputError: If a file is missing.
    """
    names = [each.name for each in fields(PrepareConfig)]
    settings = {
        name: getattr(config, name) for name in names if name not in _WITHOUT_EFFECT
    }
    if config.columns is not None:
        settings["columns"] = load_columns(config.columns).to_json()
    raw = Inputs.of(raw)
    files = [
        _describe_file(path, name) for path, name in zip(raw, raw.names, strict=True)
    ]
    return {"files": files, "settings": settings}


def with_checksums(source: dict[str, Any], checksums: Sequence[str]) -> dict[str, Any]:
    """`source` with the SHA-256 of each file, known once it has been read."""
    files = [
        {**file, "sha256": checksum}
        for file, checksum in zip(source["files"], checksums, strict=True)
    ]
    return {**source, "files": files}


def _describe_file(path: Path, name: str) -> dict[str, Any]:
    with reading(path):
        stat = path.stat()
    return {
        "name": name,
        "bytes": stat.st_size,
        "modified": stat.st_mtime_ns,
    }


def existing_data_set(
    output: Path, source: dict[str, Any], raw: Sequence[Path]
) -> FeatureSchema | None:
    """The data set that `output` already holds, if it is the one that is asked for.

    Args:
        output: The data set directory; it may not exist, or be empty.
        source: Inputs and settings of the data set that is asked for.
        raw: The raw files; one whose time is another than it was is compared by its
            checksum, since it may be a copy.

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
                "directory: give another one"
            )
        return None
    schema = FeatureSchema.load(output)
    difference = first_difference(schema.source, source)
    difference = difference or _changed_content(schema.source, source, raw)
    if difference:
        raise InputError(
            f"{output} holds a data set that was made differently: {difference}; give "
            "another directory, or remove it"
        )
    schema.check_shards(output)
    return schema


def first_difference(there: dict[str, Any] | None, now: dict[str, Any]) -> str | None:
    """What differs between two sources, content apart, in words; `None` if nothing."""
    if there is None or there.keys() != now.keys():
        return "it does not say from what"
    for name, value in now["settings"].items():
        found = there["settings"].get(name)
        if found != value:
            if name == "columns":
                return "its columns are described otherwise"
            # As it is written in a file of settings.
            return f"{name} {json.dumps(found)} there, {json.dumps(value)} now"
    names_there, names_now = (
        [file["name"] for file in source["files"]] for source in (there, now)
    )
    if names_there != names_now:
        return f"from {', '.join(names_there)} there, {', '.join(names_now)} now"
    for file_there, file_now in zip(there["files"], now["files"], strict=True):
        if file_there["bytes"] != file_now["bytes"]:
            sizes = f"{file_there['bytes']:,} bytes there, {file_now['bytes']:,} now"
            return f"{file_now['name']} had {sizes}"
    return None


def _changed_content(
    there: dict[str, Any] | None, now: dict[str, Any], raw: Sequence[Path]
) -> str | None:
    files_there = there["files"] if there else []
    for file_there, file_now, path in zip(files_there, now["files"], raw, strict=True):
        is_newer = file_there["modified"] != file_now["modified"]
        if is_newer and file_there["sha256"] != file_checksum(path):
            return f"{file_now['name']} has another content since"
    return None
