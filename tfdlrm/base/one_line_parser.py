"""A parser of arguments whose errors take one line and suggest a fix."""

import re
from collections.abc import Mapping
from typing import Any, NoReturn

import jsonargparse

from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.base.renamed_options import rename_keys

_UNKNOWN_OPTION = re.compile(r"unrecognized arguments: (?:[^-]\S* )*(-[^\s=]+)")
_UNKNOWN_KEY = re.compile(
    r"Group '([^']*)' does not accept option '([^']*)'|Option '([^']*)' is not accepted"
)
_NOT_A_GROUP = re.compile(r'Parser key "([^"]*)": Unable to load config')
_BAD_VALUE = re.compile(r'Parser key "([^"]*)": Expected a (.*)\. Got value: (.*)')
_BAD_FOR_ALL = re.compile(
    r'Parser key "([^"]*)": Does not validate against any of the Union subtypes '
    r"Subtypes: \[(.*?)\] Errors: .* Given value: (.*)"
)
_NESTED = re.compile(r"NestedArg\(key='([^']*)', val=.*\)")
"""Messages of jsonargparse."""

_CHOICES = re.compile(r"typing\.Literal\[(.*?)\]")
_QUOTED = re.compile(r"'([^']*)'")

_TYPES = {
    "<class 'NoneType'>": "null",
    "<class 'pathlib.Path'>": "a path",
    "<class 'int'>": "a whole number",
    "<class 'float'>": "a number",
    "<class 'bool'>": "true or false",
    "<class 'str'>": "text",
}


class OneLineParser(jsonargparse.ArgumentParser):
    """Raise an `InputError` with the option or key that was probably meant."""

    new_names: Mapping[str, str] = {}
    """New names of options, by their old ones, for files of settings."""

    def parse_string(self, content: str, path: Any = "", **how: Any) -> Any:
        source = str(path) or "--config"
        content = rename_keys(content, self.new_names, source)
        return super().parse_string(content, path, **how)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        del ex
        text = " ".join(message.split())
        if match := _BAD_VALUE.fullmatch(text):
            text = _bad_value(*match.groups())
        elif match := _BAD_FOR_ALL.fullmatch(text):
            text = _bad_for_all(*match.groups())
        raise InputError(f"{text}{self._hint(text)} (--help lists what there is)")

    def _hint(self, message: str) -> str:
        options = [name for name in self._option_string_actions if name[:2] == "--"]
        if match := _UNKNOWN_OPTION.search(message):
            return did_you_mean(match[1], options)
        if match := _NOT_A_GROUP.search(message):
            name = f"--{match[1]}.name"
            return f"; did you mean {name}?" if name in options else ""
        if match := _UNKNOWN_KEY.search(message):
            group, name = match[1], match[2] or match[3]
            keys = [option[2:] for option in options]
            candidates = [
                key for key in keys if not group or key.startswith(f"{group}.")
            ]
            return did_you_mean(f"{group}.{name}" if group else name, candidates)
        return ""


def _bad_value(key: str, expected: str, value: str) -> str:
    """Return a message about a bad value, without the names of Python's types."""
    choices = _CHOICES.fullmatch(expected)
    if choices is None:
        return _is_not(key, value, _TYPES.get(expected, expected))
    names = _QUOTED.findall(choices[1])
    hint = did_you_mean(value, names)
    return _is_not(key, value, f"one of {', '.join(names)}{hint}")


def _bad_for_all(key: str, subtypes: str, value: str) -> str:
    """Return a message about a value that is of none of several types."""
    if choices := _CHOICES.match(subtypes):
        names = _QUOTED.findall(choices[1])
        hint = did_you_mean(value, names)
        return _is_not(key, value, f"one of {', '.join(names)}, or null{hint}")
    types = [_TYPES.get(name, name) for name in subtypes.split(", ")]
    return _is_not(key, value, " or ".join(types))


def _is_not(key: str, value: str, expected: str) -> str:
    if nested := _NESTED.fullmatch(value):
        return f"{key} has no setting {nested[1]}: {key} itself is {expected}"
    return f"{key} is {value!r}, expected {expected}"
