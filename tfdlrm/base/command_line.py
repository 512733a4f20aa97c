"""Parse the command line of a command into its frozen dataclass."""

import sys
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tfdlrm.base import storage
from tfdlrm.base.argument_spelling import (
    bracket_lists,
    complete_switches,
    refuse_empty_paths,
)
from tfdlrm.base.arguments import Arguments, gives, to_yaml
from tfdlrm.base.errors import InputError
from tfdlrm.base.exit_status import run_command
from tfdlrm.base.help_text import CommandHelp, Subjects
from tfdlrm.base.renamed_options import rename_arguments
from tfdlrm.base.section_choices import SectionChoices
from tfdlrm.base.setting_list import (
    Setting,
    alternatives,
    sections,
    settings_of,
    summary,
    variable_sections,
)
from tfdlrm.base.setting_words import (
    expected,
    is_list,
    is_path,
    is_switch,
    is_text_list,
    may_be_null,
)

if TYPE_CHECKING:
    from tfdlrm.base.one_line_parser import OneLineParser

__all__ = ["gives", "parse", "run_command", "to_yaml"]

HELP = frozenset({"-h", "--help"})

T = TypeVar("T")


def parse(
    config_class: type[T],
    module: str,
    argv: Sequence[str] | None = None,
    several: str | Sequence[str] | None = None,
    renamed: Mapping[str, str] | None = None,
    subjects: Subjects | None = None,
) -> T:
    """Read `config_class` from `--config FILE.yaml` and dotted overrides.

    A list is written `a,b` or `[a,b]`.

    A field that is a union of dataclasses takes the one whose default `name` is
    `--FIELD.name`, and has that one's settings. If the field may be null, it is so
    without that option; a dataclass that may be null is there with its `name`, or else
    its first field, whose value may also be given as that of the dataclass.

    Args:
        config_class: Frozen dataclass whose docstring describes the command and, under
            `Args:`, its fields.
        module: What follows `python -m`, for the help text.
        argv: Arguments; those of the process when `None`.
        several: Names of fields that take several values in a row; one without a
            default is required.
        renamed: The new names of options, by their old ones, which go on working.
        subjects: The order of the options in `--help`.

    Returns:
        An instance of `config_class`.

    Raises:
        InputError: On an unknown key, a wrong type or a value out of range.
        SystemExit: With status 0 after `--help` or `--print_config`.
    """
    new_names = renamed or {}
    argv = rename_arguments(sys.argv[1:] if argv is None else argv, new_names)
    is_read_again = any(variable_sections(config_class))
    arguments = Arguments.read(argv, is_read_again)
    chosen = SectionChoices.among(arguments, config_class)
    settings = list(settings_of(config_class, chosen.by_name))
    names = {several} if isinstance(several, str) else set(several or ())
    if not HELP.isdisjoint(argv):
        print(_help(config_class, module, settings, names, subjects or {}), end="")
        raise SystemExit(0)
    in_a_row = {f"--{name}" for name in names}
    refuse_empty_paths(argv, _options(settings, is_path) | in_a_row)
    argv = bracket_lists(
        chosen.complete_arguments(argv),
        _options(settings, is_list) - in_a_row,
        _options(settings, is_text_list) - in_a_row,
    )
    argv = complete_switches(argv, _options(settings, is_switch))
    parser = _parser(config_class, chosen, settings, names)
    parser.new_names = new_names
    arguments_by_name = parser.parse_args(argv)
    _refuse_null(arguments_by_name, settings, chosen.absent)
    values: Any = parser.instantiate(arguments_by_name)
    values.pop("config", None)
    return config_class(
        **{name: _locate(value) for name, value in values.as_dict().items()}
    )


def _help(
    config_class: type[Any],
    module: str,
    settings: list[Setting],
    several: set[str],
    subjects: Subjects,
) -> str:
    choices = {
        f"{field}.name": list(members)
        for field, members in alternatives(config_class).items()
    }
    optional = [
        section.main_name
        for section in variable_sections(config_class)
        if section.may_be_null
    ]
    text = summary(config_class)
    return CommandHelp(
        module, text, settings, several, subjects, choices, optional
    ).text()


def _parser(
    config_class: type[Any],
    chosen: SectionChoices,
    settings: list[Setting],
    several: set[str],
) -> "OneLineParser":
    """Return the parser of a command's arguments."""
    from tfdlrm.base.one_line_parser import OneLineParser  # not for --help

    parser = OneLineParser(
        add_help=False,
        allow_abbrev=False,  # `gives` looks for whole names
    )
    parser.settings = {setting.name: setting for setting in settings}
    parser.owners = _owners(config_class)
    parser.choices = chosen
    parser.add_argument("--config", action="config")
    for name in sorted(several):
        is_required = parser.settings[name].is_required
        parser.add_argument(f"--{name}", nargs="+", required=is_required)
    present = sections(config_class, chosen.by_name)
    # jsonargparse skips fields of the dataclass itself, not of those in it.
    outer = {name.rpartition(".")[0] for name in chosen.by_name} - {""}
    parser.add_class_arguments(
        config_class, as_group=False, skip={*several, *chosen.by_name, *outer}
    )
    for field in (*outer, *chosen.by_name):
        if field in present:
            names = {name.removeprefix(f"{field}.") for name in chosen.by_name}
            parser.add_class_arguments(present[field], field, skip=names)
    for field, section in present.items():
        parser.add_instantiator(_naming(field), section, subclasses=False)
    return parser


def _refuse_null(values: Any, settings: list[Setting], absent: Set[str]) -> None:
    """Refuse null where it has no meaning: in files, any setting may be null."""
    for setting in settings:
        section = setting.name.rpartition(".")[0]
        if section in absent:
            continue
        if section and values.get(section) is None:
            raise InputError(
                f"{section} is null, expected settings such as {setting.name}, or none"
            )
        if values.get(setting.name) is None and not may_be_null(setting.hint):
            words = expected(setting.hint, setting.default)
            raise InputError(f"{setting.name} is null, expected {words}")


def _naming(field: str) -> Callable[..., Any]:
    """Return what makes the dataclass of a field, and names the field in errors."""

    def instantiate(config_class: type[Any], *values: Any, **how: Any) -> Any:
        how.pop("applied_instantiation_links", None)
        try:
            return config_class(*values, **how)
        except InputError as error:
            name = str(error).partition(" ")[0].partition(".")[0]
            if name in how:
                raise InputError(f"{field}.{error}") from None
            raise

    return instantiate


def _owners(config_class: type[Any]) -> dict[str, str]:
    """Return, for settings of alternatives, the options with which there are such."""
    owners: dict[str, str] = {}
    for field, members in alternatives(config_class).items():
        names: dict[str, list[str]] = {}
        for name, member in members.items():
            for setting in settings_of(member, {}, f"{field}."):
                names.setdefault(setting.name, []).append(name)
        for setting_name, with_it in names.items():
            owners[setting_name] = f"--{field}.name {' or '.join(with_it)}"
    return owners


def _options(settings: list[Setting], matches: Callable[[Any], bool]) -> set[str]:
    """Return the options whose type matches."""
    return {f"--{setting.name}" for setting in settings if matches(setting.hint)}


def _locate(value: Any) -> Any:
    """Return `value` with its remote paths as `RemotePath`."""
    if isinstance(value, list | tuple):
        return type(value)(_locate(item) for item in value)
    return storage.at(value) if isinstance(value, Path) else value
