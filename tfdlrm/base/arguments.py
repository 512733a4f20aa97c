"""The arguments of a command before they are parsed, and its files of settings."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml

from tfdlrm.base.errors import InputError
from tfdlrm.base.piped_input import is_piped, refuse_pipe

_SOURCE = ' in "<unicode string>"'
"""How PyYAML calls what it reads from a text."""


@dataclass(frozen=True)
class Arguments:
    """The arguments of a command, and the settings in the files of `--config`.

    Args:
        argv: The arguments, not parsed yet.
        settings: The settings of each file, in the order of the arguments. A pipe is
            left out: it can be read only once, by the parser.
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
            InputError: If a file does not exist or cannot be read as YAML with
                settings, or is a pipe and read again.
        """
        files = _parse(argv, "--config", action="append", default=[]) or []
        if is_read_again:
            for file in files:
                refuse_pipe("config", Path(file))
        return cls(argv, [_read(file) for file in files if not is_piped(Path(file))])

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


def _read(file: str) -> Mapping[str, Any]:
    """Return the settings in a file, or those that stand in its place as YAML."""
    path = Path(file)
    if file[:1] == "{" and not path.exists():
        return _settings("config", file)
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(
            f"{path} cannot be read as YAML: {reason}; expected a file of settings "
            "such as `epochs: 2`"
        ) from None
    return _settings(str(path), text)


def _settings(source: str, text: str) -> Mapping[str, Any]:
    try:
        settings = yaml.safe_load(text)
        _refuse_duplicates(source, yaml.compose(text, yaml.SafeLoader))
    except InputError:
        raise
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(
            f"{source} cannot be read as YAML: {yaml_problem(error)}"
        ) from None
    if not isinstance(settings, Mapping):
        raise InputError(
            f"{source} holds no settings: expected YAML such as `epochs: 2`"
        )
    return settings


def _refuse_duplicates(source: str, node: yaml.Node | None) -> None:
    """Refuse a key that is there twice, of which YAML would silently take the last."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else None
        if name in seen:
            line = key.start_mark.line + 1
            raise InputError(
                f"{source} line {line}: {name} is there twice, expected once"
            )
        if name is not None:
            seen.add(name)
        _refuse_duplicates(source, value)


def yaml_problem(error: Exception) -> str:
    """Return the line, the column and the problem of YAML that cannot be read."""
    mark = getattr(error, "problem_mark", None)
    text = " ".join(str(error).split())
    problem = getattr(error, "problem", None) or text.replace(_SOURCE, "")
    if mark is None:
        return problem
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


def to_yaml(config: Any) -> str:
    """Return the YAML that `--config` reads back as the same dataclass."""
    return yaml.safe_dump(_plain(asdict(config)), sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, PurePath) else value
