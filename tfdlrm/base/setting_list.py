"""The settings of a command: names, types, defaults and descriptions.

They are read from the dataclass of the command and from the dataclasses in it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

import docstring_parser


@dataclass(frozen=True)
class Setting:
    """One setting.

    Args:
        name: Its name, with dots before those of a dataclass in it.
        hint: Its type.
        default: Its default; `MISSING` where it is required.
        description: The words about it in the docstring.
    """

    name: str
    hint: Any
    default: Any
    description: str

    @property
    def is_required(self) -> bool:
        """Whether it must be given."""
        return self.default is MISSING


@dataclass(frozen=True)
class Section:
    """A field that holds one of several dataclasses, or perhaps none.

    Args:
        name: Its name, with dots after those of the dataclasses around it.
        members: The dataclasses, by their names where there are several.
        may_be_null: Whether it may hold none.
    """

    name: str
    members: Mapping[str, type[Any]]
    may_be_null: bool

    @property
    def first(self) -> type[Any]:
        """The dataclass that is there without a choice."""
        return next(iter(self.members.values()))

    @property
    def main(self) -> str:
        """The name of the setting that a plain value of the section stands for."""
        if len(self.members) > 1:
            return "name"
        names = [field.name for field in fields(self.first)]
        return "name" if "name" in names else names[0]

    @property
    def main_name(self) -> str:
        """The name of the main setting, with that of the section before it."""
        return f"{self.name}.{self.main}"

    @property
    def option(self) -> str:
        """The option of the main setting."""
        return f"--{self.main_name}"

    @property
    def has_choice(self) -> bool:
        """Whether it holds one of several dataclasses."""
        return len(self.members) > 1

    def settings(self) -> Iterator[Setting]:
        """Yield the settings of all its dataclasses."""
        for member in self.members.values():
            yield from settings_of(member, {}, f"{self.name}.")


def settings_of(
    config_class: type[Any],
    chosen: Mapping[str, type[Any] | None],
    prefix: str = "",
) -> Iterator[Setting]:
    """Yield the settings of a dataclass and of the dataclasses in it.

    Args:
        config_class: The dataclass.
        chosen: The dataclass to use for each section, by its name. A section that may
            be null and is not there has its main setting, and all if it has no choice.
        prefix: What goes before the names.
    """
    hints = get_type_hints(config_class)
    texts = _descriptions(config_class)  # type: ignore[arg-type]
    for field in fields(config_class):
        name = f"{prefix}{field.name}"
        section = _section(name, hints[field.name])
        hint = chosen.get(name) or hints[field.name]
        if isinstance(hint, type) and is_dataclass(hint):
            yield from settings_of(hint, chosen, f"{name}.")
        elif section is not None and section.may_be_null:
            yield from _settings_of_none(section)
        else:
            text = " ".join(texts.get(field.name, "").split())
            yield Setting(name, hint, _default(field), text)


def _settings_of_none(section: Section) -> Iterator[Setting]:
    """Yield the settings with which a section that is null would be there."""
    for setting in settings_of(section.first, {}, f"{section.name}."):
        if setting.name == section.main_name:
            yield replace(setting, hint=setting.hint | None, default=None)
        elif not section.has_choice:
            yield setting


def sections(
    config_class: type[Any],
    chosen: Mapping[str, type[Any] | None],
    prefix: str = "",
) -> dict[str, type[Any]]:
    """Return the dataclasses in a dataclass, by the names of their fields."""
    inner: dict[str, type[Any]] = {}
    for field, field_hint in get_type_hints(config_class).items():
        name = f"{prefix}{field}"
        hint = chosen.get(name) or field_hint
        if isinstance(hint, type) and is_dataclass(hint):
            inner |= {name: hint, **sections(hint, chosen, f"{name}.")}
    return inner


def variable_sections(config_class: type[Any], prefix: str = "") -> Iterator[Section]:
    """Yield the sections that hold one of several dataclasses, or perhaps none."""
    for field, hint in get_type_hints(config_class).items():
        name = f"{prefix}{field}"
        section = _section(name, hint)
        if section is not None:
            yield section
        elif isinstance(hint, type) and is_dataclass(hint):
            yield from variable_sections(hint, f"{name}.")


def alternatives(config_class: type[Any]) -> dict[str, dict[str, type[Any]]]:
    """Return, for each section with a choice, its dataclasses by name."""
    return {
        section.name: dict(section.members)
        for section in variable_sections(config_class)
        if section.has_choice
    }


def _section(name: str, hint: Any) -> Section | None:
    """Return the section of a field; `None` if it always holds the same type."""
    if not isinstance(hint, UnionType):
        return None
    members = [member for member in get_args(hint) if member is not NoneType]
    if not all(isinstance(member, type) and is_dataclass(member) for member in members):
        return None
    by_name = {getattr(member, "name", ""): member for member in members}
    return Section(name, by_name, len(members) < len(get_args(hint)))


def summary(config_class: type[Any]) -> str:
    """Return the docstring of a dataclass without its `Args`."""
    text = (config_class.__doc__ or "").partition("\n    Args:")[0].strip()
    return "\n".join(line.strip() for line in text.splitlines())


def _default(field: Any) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


@cache
def _descriptions(config_class: type[Any]) -> dict[str, str]:
    """Return the descriptions of fields, those of the class before inherited ones."""
    texts: dict[str, str] = {}
    for parent in config_class.__mro__:
        if is_dataclass(parent):
            for field in docstring_parser.parse(parent.__doc__ or "").params:
                texts.setdefault(field.arg_name, field.description or "")
    return texts
