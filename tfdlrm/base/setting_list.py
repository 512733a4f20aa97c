"""The settings of a command: names, types, defaults and descriptions.

They are read from the dataclass of the command and from the dataclasses in it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from types import UnionType
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


def settings_of(
    config_class: type[Any], chosen: Mapping[str, type[Any]], prefix: str = ""
) -> Iterator[Setting]:
    """Yield the settings of a dataclass and of the dataclasses in it.

    Args:
        config_class: The dataclass.
        chosen: For fields that are a union of dataclasses, the one to use.
        prefix: What goes before the names.
    """
    hints = get_type_hints(config_class)
    texts = _descriptions(config_class)  # type: ignore[arg-type]
    settings: Sequence[Field[Any]] = fields(config_class)
    for field in settings:
        name, hint = field.name, chosen.get(field.name, hints[field.name])
        if isinstance(hint, type) and is_dataclass(hint):
            yield from settings_of(hint, {}, f"{prefix}{name}.")
        else:
            text = " ".join(texts.get(name, "").split())
            yield Setting(f"{prefix}{name}", hint, _default(field), text)


def sections(
    config_class: type[Any], chosen: Mapping[str, type[Any]]
) -> dict[str, type[Any]]:
    """Return the dataclasses in a dataclass, by the names of their fields."""
    hints = {**get_type_hints(config_class), **chosen}
    return {
        name: hint
        for name, hint in hints.items()
        if isinstance(hint, type) and is_dataclass(hint)
    }


def alternatives(config_class: type[Any]) -> dict[str, dict[str, type[Any]]]:
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
