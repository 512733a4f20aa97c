"""Types and values of settings in words, for messages and `--help`."""

import ast
from collections.abc import Sequence
from dataclasses import MISSING
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from tfdlrm.base.nearest import did_you_mean
from tfdlrm.base.plain_text import shorten

_ONE = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "Path": "a path",
}
_SEVERAL = {
    "int": "whole numbers",
    "float": "numbers",
    "bool": "true or false",
    "str": "names",
    "Path": "paths",
}
_SPELLED = {"None": "null", "True": "true", "False": "false"}
_LONGEST = 100
_METAVARS = {"int": "N", "float": "NUMBER", "str": "TEXT", "Path": "PATH"}


def may_be_null(hint: Any) -> bool:
    """Whether a setting of this type may be null."""
    return NoneType in _members(hint)


def choices(hint: Any) -> tuple[str, ...]:
    """Return the values of a setting that has a few, or a list of such; else nothing.

    Example:

    >>> choices(Literal["sgd", "adagrad"] | None)
    ('sgd', 'adagrad')
    """
    member = _member(hint)
    if get_origin(member) is tuple:
        member = _member(get_args(member)[0])
    if get_origin(member) is not Literal:
        return ()
    return tuple(map(str, get_args(member)))


def is_list(hint: Any) -> bool:
    """Whether a setting of this type holds several values."""
    return get_origin(_member(hint)) is tuple


def is_text_list(hint: Any) -> bool:
    """Whether a setting of this type holds several texts."""
    return is_list(hint) and str in get_args(_member(hint))


def is_switch(hint: Any) -> bool:
    """Whether a setting of this type may be given without a value."""
    return hint is bool


def is_path(hint: Any) -> bool:
    """Whether a setting of this type is a path."""
    return _name(_member(hint)) == "Path"


def expected(hint: Any, default: Any = MISSING) -> str:
    """Return what a setting of a type may be.

    Args:
        hint: The type.
        default: The default, which serves as an example of a list.

    Example:

    >>> expected(int | None), expected(Literal["sgd", "adagrad"])
    ('a whole number or null', 'one of sgd, adagrad')
    >>> expected(tuple[int, ...], (512, 256))
    'whole numbers separated by commas, such as [512,256]'
    """
    names = choices(hint)
    if is_list(hint):
        example = f", such as {as_setting(default)}" if _is_example(default) else ""
        text = f"{_members_in_words(hint)} separated by commas{example}"
    elif names:
        text = f"one of {', '.join(names)}"
        return f"{text}, or null" if may_be_null(hint) else text
    else:
        text = _ONE.get(_name(_member(hint)), "a value")
    return f"{text} or null" if may_be_null(hint) else text


_MAX_LISTED = 8
"""The most values that stand next to an option; the text about it lists more."""


def metavar(hint: Any) -> str:
    """Return what stands for a value in `--help`.

    Example:

    >>> metavar(int), metavar(tuple[int, ...] | None), metavar(Literal["a", "b"])
    ('N', 'N,N,...', '{a,b}')
    """
    names = choices(hint)
    member = _member(hint)
    if is_list(hint):
        types = get_args(member)
        word = _METAVARS.get(_name(types[0]), "NAME") if not names else "NAME"
        return f"{word},{word}" if Ellipsis not in types else f"{word},{word},..."
    if names:
        return "NAME" if len(names) > _MAX_LISTED else f"{{{','.join(names)}}}"
    return "{true,false}" if member is bool else _METAVARS.get(_name(member), "VALUE")


def as_setting(value: object) -> str:
    """Return a value as one writes it on the command line or in YAML.

    Example:

    >>> as_setting(None), as_setting(True), as_setting((512, 256)), as_setting("sgd")
    ('null', 'true', '[512,256]', 'sgd')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(as_setting, value))}]"
    if isinstance(value, dict):
        pairs = (f"{key}: {as_setting(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    return str(value) if value != "" else "''"


def quoted(value: object) -> str:
    """Return a value of YAML for a message: a text in quotes, others as written.

    Example:

    >>> print(quoted("1"), quoted(1), quoted([True]))
    '1' 1 [true]
    """
    text = repr(value) if isinstance(value, str) else as_setting(value)
    return shorten(text, _LONGEST)


def is_not(name: str, hint: Any, default: Any, value: str) -> str:
    """Return a message about a value that is not of the type of its setting.

    Args:
        name: Name of the setting.
        hint: Its type.
        default: Its default.
        value: The value, in Python's spelling.
    """
    text = _SPELLED.get(value, value)
    if value[:1] in ("[", "{", "("):
        try:
            text = as_setting(ast.literal_eval(value))
        except (SyntaxError, ValueError):
            text = value
    return (
        f"{name} is {text!r}, expected {expected(hint, default)}"
        f"{_nearest(text, choices(hint))}"
    )


def _nearest(text: str, names: Sequence[str]) -> str:
    """Suggest a choice for the first of the values that is none."""
    words = [word.strip() for word in text.strip("[]").split(",")]
    wrong = [word for word in words if word not in names]
    return did_you_mean(wrong[0], names) if names and wrong else ""


def _members_in_words(hint: Any) -> str:
    names = choices(hint)
    if names:
        return f"some of {', '.join(names)},"
    types = get_args(_member(hint))
    number = "" if Ellipsis in types else f"{len(types)} "
    return number + _SEVERAL.get(_name(types[0]), "values")


def _is_example(default: Any) -> bool:
    return isinstance(default, tuple) and bool(default)


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _member(hint: Any) -> Any:
    """Return the type of a setting where it is not null."""
    return next((type_ for type_ in _members(hint) if type_ is not NoneType), hint)


def _name(hint: Any) -> str:
    if isinstance(hint, type) and issubclass(hint, PurePath):
        return "Path"
    return getattr(hint, "__name__", "")
