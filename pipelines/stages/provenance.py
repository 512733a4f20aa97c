"""The inputs and settings of a data set, so that it is made only once."""

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from pipelines.ids.earlier import Earlier
from pipelines.logs.checksums import file_checksum
from pipelines.logs.columns_file import load_columns
from pipelines.logs.damage import reading
from pipelines.logs.inputs import Inputs
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.config.number_settings import NUMBER_SETTINGS
from tfdlrm.data.schema import FILE_NAME, FeatureSchema

_WITHOUT_EFFECT = {"memory_budget", "engine", "master"}
"""Settings that change how a data set is made, but not its bytes."""


def describe_source(
    raw: Sequence[Path], config: PrepareConfig, earlier: Earlier | None = None
) -> dict[str, Any]:
    """Describe the inputs and settings of a data set for its schema.

    Args:
        raw: The raw files.
        config: The settings.
        earlier: What the data set extends.

    Returns:
        A dictionary for JSON; `with_checksums` adds the checksums.

    Raises:
        InputError: If a file is missing.
    """
    names = [setting.name for setting in fields(PrepareConfig)]
    settings = {
        name: getattr(config, name) for name in names if name not in _WITHOUT_EFFECT
    }
    for name, default in NUMBER_SETTINGS.items():  # as earlier versions describe it
        if settings[name] == default:
            del settings[name]
    settings["extend"] = None
    if earlier is not None:  # wherever it is
        settings["extend"] = [
            {"meaning": link.meaning, "data_set": link.data_set}
            for link in earlier.chain
        ]
    if config.columns is not None:
        settings["columns"] = load_columns(config.columns).to_json()
    raw = Inputs.of(raw)
    files = [
        _describe_file(path, name) for path, name in zip(raw, raw.names, strict=True)
    ]
    for file, split in zip(files, raw.split_of_files, strict=bool(raw.splits)):
        file["split"] = split
    return {"files": files, "settings": settings}


def with_checksums(source: dict[str, Any], checksums: Sequence[str]) -> dict[str, Any]:
    """Return `source` with the SHA-256 of each file, known when it has been read."""
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
    """Return the schema of the data set in `output`, if it is the requested one.

    Args:
        output: The data set directory; it may be missing or empty.
        source: Inputs and settings of the requested data set.
        raw: The raw files. A file whose modification time has changed is compared by
            its checksum, since it may be a copy.

    Returns:
        The schema, or `None` when `output` is missing or empty.

    Raises:
        InputError: If `output` holds something else, or the data set is damaged.
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


def first_difference(
    old_source: dict[str, Any] | None, source: dict[str, Any]
) -> str | None:
    """Return the first difference of two sources in words, or `None`.

    The contents of the files are not compared.
    """
    if old_source is None or old_source.keys() != source.keys():
        return "it does not say what it was made from"
    settings = NUMBER_SETTINGS | source["settings"]
    old_settings = NUMBER_SETTINGS | old_source["settings"]
    for name, value in settings.items():
        old_value = old_settings.get(name)
        if old_value != value:
            if name == "columns":
                return "columns describes other columns"
            if name == "extend":
                return "extend named another data set, or none"
            # As it is written in a file of settings.
            return f"{name} was {json.dumps(old_value)}, is {json.dumps(value)}"
    old_names, names = _file_names(old_source), _file_names(source)
    if old_names != names:
        return f"the raw files were {', '.join(old_names)}, are {', '.join(names)}"
    for old_file, file in zip(old_source["files"], source["files"], strict=True):
        if old_file["bytes"] != file["bytes"]:
            sizes = f"had {old_file['bytes']:,} bytes, has {file['bytes']:,}"
            return f"{file['name']} {sizes}"
    return None


def _file_names(source: dict[str, Any]) -> list[str]:
    """Return the name of each file, with its split if it was given."""
    return [
        f"{file['name']} ({file['split']})" if "split" in file else file["name"]
        for file in source["files"]
    ]


def _changed_content(
    old_source: dict[str, Any] | None, source: dict[str, Any], raw: Sequence[Path]
) -> str | None:
    old_files = old_source["files"] if old_source else []
    for old_file, file, path in zip(old_files, source["files"], raw, strict=True):
        is_touched = old_file["modified"] != file["modified"]
        if is_touched and old_file["sha256"] != file_checksum(path):
            return f"{file['name']} has other contents now"
    return None
