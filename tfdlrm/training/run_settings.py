"""The settings of a run on disk: a YAML file for people, and a copy with a checksum."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tfdlrm.base import storage
from tfdlrm.base.checksums import seal, unseal
from tfdlrm.base.errors import InputError

CONFIG_FILE = "config.yaml"
COPY_FILE = "settings.json"
"""Copy that replaces a lost `config.yaml` and shows where it was changed."""


def write_settings(directory: Path, settings: str) -> None:
    """Write settings, which are YAML, into a run directory.

    Raises:
        OSError: If the disk refuses.
    """
    storage.replace_text(directory / CONFIG_FILE, settings)
    storage.replace_text(directory / COPY_FILE, seal(yaml.safe_load(settings)) + "\n")


def read_settings(directory: Path) -> dict[str, Any]:
    """Read `config.yaml`.

    Raises:
        InputError: If it cannot be read as settings.
    """
    path = directory / CONFIG_FILE
    try:
        text = path.read_text(encoding="utf-8")
        settings = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _damaged(path, " ".join(str(error).split())) from None
    if not isinstance(settings, dict):
        content = "nothing" if settings is None else "no mapping"
        raise _damaged(path, f"{len(text):,} characters, in which YAML sees {content}")
    return settings


def copied_settings(directory: Path) -> dict[str, Any] | None:
    """Read the copy; return `None` if it is missing or damaged."""
    try:
        return unseal((directory / COPY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def whole_settings(directory: Path) -> dict[str, Any]:
    """Read `config.yaml`, or the copy if that is missing.

    Raises:
        InputError: If it is damaged.
    """
    copy = copied_settings(directory)
    if copy is not None and not (directory / CONFIG_FILE).exists():
        return copy
    try:
        return read_settings(directory)
    except InputError as error:
        fix = "put back a copy of the file"
        if copy is not None:
            fix = f"remove the file, and {COPY_FILE} next to it is used instead"
        raise InputError(f"{error}: {fix}") from None


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is damaged ({reason}), expected the run's settings")


def first_difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """Return the first setting that differs and changes what a run computes."""
    old_settings, new_settings = dict(flat_settings(old)), dict(flat_settings(new))
    for name in {**new_settings, **old_settings}:
        old_value, new_value = old_settings.get(name), new_settings.get(name)
        if old_value != new_value and not _changes_no_number(
            name, old_value, new_value
        ):
            return (
                f"{name}: {_as_yaml(old_value)} there, "
                f"{name}: {_as_yaml(new_value)} now"
            )
    return None


def _changes_no_number(name: str, old_value: Any, new_value: Any) -> bool:
    """Whether a setting changes where a run computes, but not its numbers."""
    if name == "strategy":
        return {old_value, new_value} <= {"default", "mirrored"}
    # A checkpoint identifies its data set, wherever that is now.
    paths = ("data_dir", "run_dir", "export_dir", "allow_other_columns")
    watched = ("tables", "profile_steps", "weight_histograms")
    return name in (*paths, *watched) or name.startswith("checkpoints.")


def flat_settings(
    settings: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of each setting."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flat_settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _as_yaml(value: Any) -> str:
    return "null" if value is None else str(value)
