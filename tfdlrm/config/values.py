"""Values of settings that Python code gives: texts of paths, and wrong types."""

from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError

_WORDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    NoneType: "None",
}


def take_values(config: Any) -> None:
    """Convert texts to paths where paths are expected, and refuse other types.

    Args:
        config: A frozen dataclass of settings, which changes.

    Raises:
        InputError: If a value has another type than its setting.

    Example:

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Settings:
    ...     epochs: int = 1
    ...     run_dir: Path | None = None
    ...     def __post_init__(self):
    ...         take_values(self)
    >>> Settings(run_dir="runs/first").run_dir
    PosixPath('runs/first')
    >>> try:
    ...     Settings(epochs="3")
    ... except InputError as error:
    ...     print(error)
    epochs is '3', expected a whole number
    """
    hints = get_type_hints(type(config))
    for setting in fields(config):
        value, hint = getattr(config, setting.name), hints[setting.name]
        if isinstance(value, str) and Path in _types(hint) and str not in _types(hint):
            object.__setattr__(config, setting.name, storage.at(value))
        elif not _fits(value, hint):
            raise InputError(f"{setting.name} is {value!r}, expected {_words(hint)}")


def _types(hint: Any) -> tuple[Any, ...]:
    """Return the types that a hint allows."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return any(value == option for option in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, list | tuple)
    if hint in (int, float):
        number = Integral if hint is int else Real
        return isinstance(value, number) and not isinstance(value, bool)
    if hint is Path and storage.is_remote(value):
        return True
    return not isinstance(hint, type) or isinstance(value, hint)


def _words(hint: Any) -> str:
    options: list[str] = []
    for option in _types(hint):
        if get_origin(option) is Literal:
            options += map(repr, get_args(option))
        elif get_origin(option) is tuple:
            options.append("a tuple")
        elif is_dataclass(option):
            options.append(f"{getattr(option, '__name__', option)}(…)")
        else:
            options.append(_WORDS.get(option, str(option)))
    *others, last = options
    return f"{', '.join(others)} or {last}" if others else last
