"""Sections of settings that may be absent, or of which there are several.

The arguments are searched before they are parsed, so that `--help` and the messages are
about the chosen dataclass, not about all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tfdlrm.base.arguments import Arguments
from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.base.setting_list import Section, settings_of, variable_sections
from tfdlrm.base.setting_words import expected

_MISSING: Any = object()
_NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True)
class SectionChoices:
    """The dataclasses that some arguments choose for sections of settings.

    Args:
        by_name: The dataclass of each section; `None` if the section is absent.
        optional: The sections that may be absent.
    """

    by_name: Mapping[str, type[Any] | None]
    optional: Sequence[Section] = ()

    @classmethod
    def among(cls, arguments: Arguments, config_class: type[Any]) -> "SectionChoices":
        """Return the choices of some arguments for the sections of a dataclass.

        Raises:
            InputError: If there is no such choice, or a section that is absent has
                other settings.
        """
        variable = list(variable_sections(config_class))
        for file in arguments.settings:
            _refuse_dots(file, variable)
        return cls(
            {section.name: _choose(section, arguments) for section in variable},
            [section for section in variable if section.may_be_null],
        )

    @property
    def absent(self) -> frozenset[str]:
        """The names of the sections that are absent."""
        return frozenset(name for name, member in self.by_name.items() if not member)

    @property
    def short_names(self) -> dict[str, str]:
        """The sections that may be absent, by the names of their main settings."""
        return {section.main_name: section.name for section in self.optional}

    def complete_arguments(self, argv: Sequence[str]) -> list[str]:
        """Return arguments in which a plain value is that of a section's main setting.

        What makes a section absent is left out.
        """
        for section in self.optional:
            argv = list(_complete(argv, section, section.name in self.absent))
        return list(argv)

    def complete_yaml(self, text: str) -> str:
        """Return YAML in which a plain value is that of a section's main setting.

        Args:
            text: The YAML; what needs no change is returned as it is.
        """
        try:
            root = yaml.compose(text, yaml.SafeLoader)
        except yaml.YAMLError:  # the parser reports it
            return text
        changes = [
            _complete_mapping(root, section, section.name in self.absent)
            for section in self.optional
        ]
        # Nodes keep the spelling of other values: to PyYAML, 1e-3 is a text.
        return yaml.serialize(root, Dumper=yaml.SafeDumper) if any(changes) else text


def _complete(argv: Sequence[str], section: Section, is_absent: bool) -> Iterator[str]:
    is_value = False
    for argument in argv:
        name, equals, value = argument.partition("=")
        is_main = not is_value and name in (f"--{section.name}", section.option)
        if is_main:
            argument = f"{section.option}{equals}{value}"
        if not (is_absent and (is_main or is_value)):
            yield argument
        is_value = is_main and not equals


def _complete_mapping(root: Any, section: Section, is_absent: bool) -> bool:
    """Change a section of some YAML; return whether there was a change."""
    *outer, name = section.name.split(".")
    mapping = root
    for key in outer:
        position = _position(mapping, key)
        mapping = None if position is None else mapping.value[position][1]
    position = _position(mapping, name)
    if position is None:
        return False
    key, value = mapping.value[position]
    if is_absent or value.tag == _NULL:
        del mapping.value[position]
    elif isinstance(value, yaml.MappingNode):
        return False
    else:
        main = yaml.ScalarNode(key.tag, section.main)
        new = yaml.MappingNode("tag:yaml.org,2002:map", [(main, value)])
        mapping.value[position] = (key, new)
    return True


def _position(mapping: Any, name: str) -> int | None:
    """Return the position of a key in a mapping of YAML."""
    if not isinstance(mapping, yaml.MappingNode):
        return None
    names = [key.value for key, _ in mapping.value]
    return names.index(name) if name in names else None


def _choose(section: Section, arguments: Arguments) -> type[Any] | None:
    """Return the dataclass that some arguments choose; `None` if it is absent."""
    values = _values_of(section, arguments.argv)
    in_files = [_value_in(file, section.name) for file in arguments.settings]
    main = values[-1] if values else _main_in(section, in_files)
    if section.may_be_null and main in (None, "null", _MISSING):
        _require_no_others(section, arguments.argv, [] if values else in_files)
        return None
    if not section.has_choice:
        return section.first
    name = next(iter(section.members)) if main in (None, _MISSING) else str(main)
    if name not in section.members:
        raise InputError(
            f"{section.main_name} is {name!r}, expected one of "
            f"{', '.join(section.members)}{did_you_mean(name, section.members)}"
        )
    return section.members[name]


def _refuse_dots(
    settings: Mapping[str, Any], sections: Sequence[Section], prefix: str = ""
) -> None:
    """Refuse a dotted key of a file that would choose a section, but is not seen."""
    for key, value in settings.items():
        name = f"{prefix}{key}"
        chooses = any(
            name == section.main_name
            or (section.may_be_null and f"{name}.".startswith(f"{section.name}."))
            for section in sections
        )
        if "." in str(key) and chooses:
            nested = ": {".join(name.split(".")) + ": …" + "}" * name.count(".")
            raise InputError(
                f"{name} is one key in a file of settings, expected sections there: "
                f"`{nested}`"
            )
        if isinstance(value, Mapping):
            _refuse_dots(value, sections, f"{name}.")


def _value_in(settings: Any, name: str) -> Any:
    for key in name.split("."):
        if not isinstance(settings, Mapping) or key not in settings:
            return _MISSING
        settings = settings[key]
    return settings


def _main_in(section: Section, in_files: Sequence[Any]) -> Any:
    """Return the value of the main setting in the last file that has one."""
    for value in reversed(in_files):
        if isinstance(value, Mapping):
            value = value.get(section.main, _MISSING)
        elif not section.may_be_null:
            continue  # the parser refuses it
        if value is not _MISSING:
            return value
    return _MISSING


def _values_of(section: Section, argv: Sequence[str]) -> list[str]:
    """Return the values of the main setting among some arguments, in order."""
    values = []
    for argument, following in zip(argv, [*argv[1:], "--"], strict=False):
        name, equals, value = argument.partition("=")
        is_short = section.may_be_null and name == f"--{section.name}"
        if not is_short and name != section.option:
            continue
        if equals or not following.startswith("--"):
            values.append(value if equals else following)
        elif section.may_be_null:
            raise InputError(f"{name} has no value, expected {_words(section)} or null")
    return values


def _require_no_others(
    section: Section, argv: Sequence[str], in_files: Sequence[Any]
) -> None:
    """Refuse other settings of a section that is absent.

    In a file they may stand next to a main setting that is null.
    """
    options = [argument.partition("=")[0].removeprefix("--") for argument in argv]
    names = [name for name in options if name.startswith(f"{section.name}.")]
    for value in in_files:
        if isinstance(value, Mapping) and section.main not in value:
            names += [f"{section.name}.{key}" for key in value]
    names = [name for name in names if name != section.main_name]
    if not names:
        return
    known = {setting.name for setting in section.settings()}
    if names[0] not in known:
        hint = did_you_mean(names[0], known)
        raise InputError(f"{names[0]} is no setting{hint}")
    raise InputError(
        f"{names[0]} is a setting with {section.main_name}, which is missing: expected "
        f"{_words(section)} for it"
    )


def _words(section: Section) -> str:
    """Return what the main setting of a section may be."""
    if section.has_choice:
        return f"one of {', '.join(section.members)}"
    return next(
        expected(setting.hint)
        for setting in settings_of(section.first, {}, f"{section.name}.")
        if setting.name == section.main_name
    )
