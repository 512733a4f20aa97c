"""Parse the command line of a command into its frozen dataclass."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import docstring_parser

from tfdlrm.base import storage
from tfdlrm.base.argument_spelling import (
    bracket_lists,
    complete_switches,
    refuse_empty_paths,
)
from tfdlrm.base.arguments import Arguments, gives, to_yaml
from tfdlrm.base.errors import InputError
from tfdlrm.base.exit_status import run_command
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.base.one_line_parser import OneLineParser
from tfdlrm.base.renamed_options import rename_arguments

__all__ = ["gives", "parse", "run_command", "to_yaml"]

T = TypeVar("T")


def parse(
    config_class: type[T],
    module: str,
    argv: Sequence[str] | None = None,
    several: str | Sequence[str] | None = None,
    renamed: Mapping[str, str] | None = None,
) -> T:
    """Read `config_class` from `--config FILE.yaml` and dotted overrides.

    A list is written `a,b` or `[a,b]`.

    A field that is a union of dataclasses takes the one whose default `name` is
    `--FIELD.name`, and has that one's settings.

    Args:
        config_class: Frozen dataclass whose docstring describes the command and, under
            `Args:`, its fields.
        module: What follows `python -m`, for the help text.
        argv: Arguments; those of the process when `None`.
        several: Names of fields that take several values in a row; one without a
            default is required.
        renamed: The new names of options, by their old ones, which go on working.

    Returns:
        An instance of `config_class`.

    Raises:
        InputError: On an unknown key, a wrong type or a value out of range.
    """
    parser = OneLineParser(
        prog=f"python -m {module}",
        description=_summary(config_class),
        allow_abbrev=False,  # `gives` looks for whole names
    )
    parser.new_names = renamed or {}
    parser.add_argument("--config", action="config", help="YAML file of settings.")
    names = {several} if isinstance(several, str) else set(several or ())
    settings: Sequence[Field[Any]] = fields(config_class)  # type: ignore[arg-type]
    required = {setting.name for setting in settings if _is_required(setting)}
    for name in sorted(names):
        parser.add_argument(
            f"--{name}",
            nargs="+",
            required=name in required,
            metavar="PATH",
            help=_descriptions(config_class)[name],
        )
    argv = rename_arguments(sys.argv[1:] if argv is None else argv, parser.new_names)
    has_alternatives = bool(_alternatives(config_class))
    arguments = Arguments.read(argv, is_read_again=has_alternatives)
    chosen = _choose_alternatives(config_class, arguments)
    in_a_row = {f"--{name}" for name in names}
    lists = set(_options(config_class, chosen, _takes_list)) - in_a_row
    paths = set(_options(config_class, chosen, _is_path))
    refuse_empty_paths(argv, paths | in_a_row)
    argv = bracket_lists(argv, lists)
    argv = complete_switches(argv, set(_options(config_class, chosen, _is_switch)))
    parser.add_class_arguments(
        config_class, as_group=False, skip={*names, *chosen.keys()}
    )
    for field, alternative in chosen.items():
        parser.add_class_arguments(
            alternative,
            field,
            help=_alternatives_help(config_class, field, alternative),
        )
    values: Any = parser.instantiate(parser.parse_args(argv))
    values.pop("config", None)
    return config_class(
        **{name: _locate(value) for name, value in values.as_dict().items()}
    )


def _is_required(setting: Field[Any]) -> bool:
    return setting.default is MISSING and setting.default_factory is MISSING


def _locate(value: Any) -> Any:
    """Return `value` with its remote paths as `RemotePath`."""
    if isinstance(value, list | tuple):
        return type(value)(_locate(item) for item in value)
    return storage.at(value) if isinstance(value, Path) else value


def _options(
    config_class: type[Any],
    chosen: Mapping[str, type[Any]],
    matches: Callable[[Any], bool],
    prefix: str = "--",
) -> Iterator[str]:
    """Yield the options of `config_class` and its dataclasses whose type matches."""
    for field, type_hint in get_type_hints(config_class).items():
        hint: Any = chosen.get(field, type_hint)
        if isinstance(hint, type) and is_dataclass(hint):
            yield from _options(hint, {}, matches, f"{prefix}{field}.")
        elif matches(hint):
            yield f"{prefix}{field}"


def _takes_list(hint: Any) -> bool:
    return tuple in [get_origin(member) for member in (hint, *get_args(hint))]


def _is_switch(hint: Any) -> bool:
    return hint is bool


def _is_path(hint: Any) -> bool:
    return Path in (hint, *get_args(hint))


def _choose_alternatives(
    config_class: type[Any], arguments: Arguments
) -> dict[str, type[Any]]:
    """Return the dataclass to read for each field that is a union of dataclasses.

    The arguments are searched before they are parsed, so that `--help` and the messages
    are about the chosen dataclass, not about all of them.
    """
    chosen = {}
    for field, alternatives in _alternatives(config_class).items():
        name = _named_in(arguments, field) or next(iter(alternatives))
        if name not in alternatives:
            names = ", ".join(alternatives)
            raise InputError(
                f"{field}.name is {name!r}, expected one of {names}"
                f"{did_you_mean(name, alternatives)}"
            )
        chosen[field] = alternatives[name]
    return chosen


def _alternatives(config_class: type[Any]) -> dict[str, dict[str, type[Any]]]:
    """Return, for each field that is a union of dataclasses, these by name."""
    unions = {
        field: get_args(hint)
        for field, hint in get_type_hints(config_class).items()
        if isinstance(hint, UnionType)
    }
    return {
        field: {member.name: member for member in members}
        for field, members in unions.items()
        if all(is_dataclass(member) for member in members)
    }


def _named_in(arguments: Arguments, field: str) -> str | None:
    """Return the name of the alternative for `field`: the option, or the last file."""
    sections = [settings.get(field) for settings in reversed(arguments.settings)]
    names = [
        arguments.value_of(f"{field}.name"),
        *(section.get("name") for section in sections if isinstance(section, Mapping)),
    ]
    return next((str(name) for name in names if name is not None), None)


def _descriptions(config_class: type[Any]) -> dict[str, str]:
    fields = docstring_parser.parse(config_class.__doc__ or "").params
    return {field.arg_name: field.description or "" for field in fields}


def _alternatives_help(
    config_class: type[Any], field: str, alternative: type[Any]
) -> str:
    names = ", ".join(_alternatives(config_class)[field])
    summary = _summary(alternative)
    return f"{summary} For others, put before --help --{field}.name: {names}"


def _summary(config_class: type[Any]) -> str:
    return (config_class.__doc__ or "").partition("\n    Args:")[0].strip()
