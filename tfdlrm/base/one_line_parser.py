"""A parser of arguments that says in one line what is wrong, and what was meant."""

import re
from typing import NoReturn

import jsonargparse

from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean

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
"""What jsonargparse says."""

_TYPES = {
    "<class 'NoneType'>": "null",
    "<class 'pathlib.Path'>": "a path",
    "<class 'int'>": "a whole number",
    "<class 'float'>": "a number",
    "<class 'bool'>": "true or false",
    "<class 'str'>": "text",
}


class OneLineParser(jsonargparse.ArgumentParser):
    """Raises an `InputError` with the option, key or value that was meant."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        del ex
        text = " ".join(message.split())
        if found := _BAD_VALUE.fullmatch(text):
            text = _bad_value(*found.groups())
        elif found := _BAD_FOR_ALL.fullmatch(text):
            kinds = [_TYPES.get(kind, kind) for kind in found[2].split(", ")]
            text = _is_not(found[1], found[3], " or ".join(kinds))
        raise InputError(f"{text}{self._hint(text)} (--help lists what there is)")

    def _hint(self, message: str) -> str:
        options = [each for each in self._option_string_actions if each[:2] == "--"]
        if found := _UNKNOWN_OPTION.search(message):
            return did_you_mean(found[1], options)
        if found := _NOT_A_GROUP.search(message):
            name = f"--{found[1]}.name"
            return f"; did you mean {name}?" if name in options else ""
        if found := _UNKNOWN_KEY.search(message):
            group, name = found[1], found[2] or found[3]
            keys = [option[2:] for option in options]
            known = [key for key in keys if not group or key.startswith(f"{group}.")]
            return did_you_mean(f"{group}.{name}" if group else name, known)
        return ""


def _bad_value(key: str, expected: str, value: str) -> str:
    """Say what was expected without the names of Python's types."""
    choices = re.fullmatch(r"typing\.Literal\[(.*)\]", expected)
    if choices is None:
        return _is_not(key, value, _TYPES.get(expected, expected))
    known = re.findall(r"'([^']*)'", choices[1])
    hint = did_you_mean(value, known)
    return _is_not(key, value, f"one of {', '.join(known)}{hint}")


def _is_not(key: str, value: str, expected: str) -> str:
    if nested := _NESTED.fullmatch(value):
        return f"{key} has no setting {nested[1]}: {key} itself is {expected}"
    return f"{key} is {value!r}, expected {expected}"
