"""The arguments of a command before they are parsed, and its files of settings."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml

from tfdlrm.base.errors import InputError
from tfdlrm.base.piped_input import refuse_pipe


@dataclass(frozen=True)
class Arguments:
    """The arguments of a command, and the settings in the files of `--config`.

    Args:
        argv: The arguments, not parsed yet.
        settings: The settings of each file, in the order of the arguments. A file that
            does not exist is left out: the parser reports it.
    """

    argv: Sequence[str]
    settings: Sequence[Mapping[str, Any]]

    @classmethod
    def read(cls, argv: Sequence[str], is_read_again: bool = True) -> "Arguments":
        """Read the files of settings among some arguments.

        Args:
            argv: The arguments.
            is_read_again: Whether the settings decide how the arguments are parsed,
                so that a file is read twice and cannot be a pipe.

        Raises:
            InputError: If a file cannot be read as YAML with settings, or is a pipe
                and read again.
        """
        paths = _parse(argv, "--config", action="append", default=[], type=Path) or []
        if is_read_again:
            for path in paths:
                refuse_pipe("config", path)
        return cls(argv, [_read_file(path) for path in paths if path.is_file()])

    def value_of(self, option: str) -> str | None:
        """Return the value of an option among the arguments; `None` without it."""
        value: str | None = _parse(self.argv, f"--{option}")
        return value

    def gives(self, field: str) -> bool:
        """Whether the arguments or the files give a value for the setting `field`."""
        return self.value_of(field) is not None or any(
            field in settings for settings in self.settings
        )


def gives(argv: Sequence[str], field: str) -> bool:
    """Whether the arguments, or a file of settings among them, give `field`.

    Args:
        argv: The arguments, not parsed yet.
        field: Name of a setting.
    """
    return Arguments.read(argv).gives(field)


def _parse(argv: Sequence[str], option: str, **parsing: Any) -> Any:
    """Return the value of one option; `None` if the parser will refuse it."""
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False
    )
    parser.add_argument(option, dest="value", **parsing)
    try:
        return parser.parse_known_args(argv)[0].value
    except argparse.ArgumentError:
        return None


def _read_file(path: Path) -> Mapping[str, Any]:
    try:
        settings = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as YAML: {reason}") from None
    if not isinstance(settings, Mapping):
        raise InputError(f"{path} holds no settings: expected YAML such as `epochs: 2`")
    return settings


def to_yaml(config: Any) -> str:
    """Return the YAML that `--config` reads back as the same dataclass."""
    return yaml.safe_dump(_plain(asdict(config)), sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, PurePath) else value
