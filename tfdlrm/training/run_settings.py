"""The settings of a run on disk: a YAML file for people, and a copy with a checksum."""

from pathlib import Path
from typing import Any

import yaml

from tfdlrm.base import storage
from tfdlrm.base.checksums import seal, unseal
from tfdlrm.base.errors import InputError

CONFIG_FILE = "config.yaml"
COPY_FILE = "settings.json"
"""Stands in for a `config.yaml` that is lost, and shows where it was changed."""


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
        found = "nothing" if settings is None else f"a {type(settings).__name__}"
        raise _damaged(path, f"{len(text):,} characters, in which YAML sees {found}")
    return settings


def copied_settings(directory: Path) -> dict[str, Any] | None:
    """Read the copy; `None` where it is missing or damaged too."""
    try:
        return unseal((directory / COPY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def whole_settings(directory: Path) -> dict[str, Any]:
    """Read `config.yaml`, or the copy where that is missing.

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
            fix = f"remove the file, and {COPY_FILE} beside it stands in for it"
        raise InputError(f"{error}: {fix}") from None


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is damaged ({reason}), expected the run's settings")
