"""The dimensions of a space: ranges of numbers, and lists of values."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.base.setting_words import as_setting, expected, is_list, quoted

if TYPE_CHECKING:
    from optuna.trial import Trial

_RANGE_KEYS = ("low", "high", "step", "log")
_EXAMPLE = "{low: 1, high: 8}"
_LARGEST = 2**53
_DIGITS = 4
"""Significant digits of drawn numbers that are not whole."""


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds, both included.

    Args:
        low: The lowest.
        high: The highest.
        step: Distance between neighbours; `None` for 1 or, where `log` or fractions
            are, for none.
        log: Whether numbers are drawn evenly by their logarithm.
        is_whole: Whether they are whole numbers.
    """

    low: float
    high: float
    step: float | None
    log: bool
    is_whole: bool

    @property
    def examples(self) -> list[Any]:
        """The values to check before the search: the bounds."""
        return [self.low, self.high]

    def suggest(self, name: str, trial: "Trial") -> Any:
        """Return the value of a trial."""
        if self.is_whole:
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return trial.suggest_int(name, low, high, step=step, log=self.log)
        value = trial.suggest_float(
            name, self.low, self.high, step=self.step, log=self.log
        )
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)

    def to_json(self) -> Any:
        """Return the range as it is written in a file."""
        step = {} if self.step is None else {"step": self.step}
        return {"low": self.low, "high": self.high, **step, "log": self.log}


@dataclass(frozen=True)
class Choices:
    """Values of any type.

    Args:
        values: The values, as YAML has them.
    """

    values: tuple[Any, ...]

    @property
    def examples(self) -> list[Any]:
        """The values to check before the search: all."""
        return list(self.values)

    def suggest(self, name: str, trial: "Trial") -> Any:
        """Return the value of a trial."""
        # A storage of Optuna takes texts and numbers, and no lists.
        texts = {_as_choice(value): value for value in self.values}
        return texts[trial.suggest_categorical(name, list(texts))]

    def to_json(self) -> Any:
        """Return the values as they are written in a file."""
        return list(self.values)


Dimension = Range | Choices


def read_dimension(name: str, hint: Any, value: Any) -> Dimension:
    """Return the dimension of a setting.

    Args:
        name: The setting.
        hint: Its type.
        value: What the space says about it: a mapping or a list.

    Raises:
        InputError: If it is no range and no list of values.
    """
    if isinstance(value, Mapping):
        return _read_range(name, hint, value)
    if not isinstance(value, list):
        raise InputError(
            f"{name} is {quoted(value)}, expected a range such as {_EXAMPLE} or a list "
            "of values; what all trials share is an option of the command, or in "
            "--config"
        )
    if not value:
        raise InputError(f"{name} is [], expected one or more values")
    number_type = _number_type(hint)
    values = [_number(item, number_type) for item in value]
    if is_list(hint):
        for item in values:
            if item is not None and not isinstance(item, list):
                raise InputError(
                    f"{name} has the value {quoted(item)}, expected lists, since each "
                    f"value is {expected(hint)}: [{quoted(value)}] is one of them"
                )
    texts = [_as_choice(item) for item in values]
    for text in texts:
        if texts.count(text) > 1:
            raise InputError(f"{name} has the value {text} twice, expected it once")
    return Choices(tuple(values))


def _read_range(name: str, hint: Any, bounds: Mapping[str, Any]) -> Range:
    number_type = _number_type(hint)
    if number_type is None:
        raise InputError(
            f"{name} is a range, expected a list of values, each "
            f"{'of them ' if is_list(hint) else ''}{expected(hint)}"
        )
    for key in bounds:
        if key not in _RANGE_KEYS:
            raise InputError(
                f"{name} has no {quoted(key)}, expected low, high and perhaps step or "
                f"log{did_you_mean(str(key), _RANGE_KEYS)}"
            )
    for key in ("low", "high"):
        if key not in bounds:
            raise InputError(f"{name} has no {key}, expected a range as {_EXAMPLE}")
    log = bounds.get("log", False)
    if not isinstance(log, bool):
        raise InputError(f"{name}.log is {quoted(log)}, expected true or false")
    numbers = {
        key: _bound(f"{name}.{key}", number_type, bounds[key])
        for key in ("low", "high", "step")
        if bounds.get(key) is not None
    }
    for key in ("low", "high"):
        if key not in numbers:
            raise InputError(f"{name}.{key} is null, expected a number")
    is_whole = number_type is int
    dimension = Range(
        numbers["low"], numbers["high"], numbers.get("step"), log, is_whole
    )
    _check_range(name, dimension)
    return dimension


def _bound(name: str, number_type: type, value: Any) -> float:
    number = _number(value, number_type)
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    words = "a finite number"
    if number_type is int:
        words = f"a whole number up to {_LARGEST}"
    if not is_number or not math.isfinite(number):
        raise InputError(f"{name} is {quoted(value)}, expected {words}")
    if number_type is int and (number != int(number) or abs(number) > _LARGEST):
        raise InputError(f"{name} is {quoted(value)}, expected {words}")
    return number_type(number)


def _check_range(name: str, bounds: Range) -> None:
    low, high, step = bounds.low, bounds.high, bounds.step
    if low >= high:
        raise InputError(
            f"{name}.high is {as_setting(high)}, expected more than low, which is "
            f"{as_setting(low)}"
        )
    if bounds.log and low <= 0:
        raise InputError(f"{name}.low is {as_setting(low)}, expected > 0 with log")
    if step is None:
        return
    if bounds.log:
        raise InputError(f"{name}.step is {as_setting(step)}, expected none with log")
    if step <= 0:
        raise InputError(f"{name}.step is {as_setting(step)}, expected > 0")
    steps = (high - low) / step
    if steps < 1 or abs(steps - round(steps)) > 1e-6:
        end = low + max(1, math.floor(steps)) * step
        raise InputError(
            f"{name}.high is {as_setting(high)}, expected low and a number of steps, "
            f"such as {end:g}"
        )


def _number_type(hint: Any) -> type | None:
    """Return the type of a setting that is a number; else `None`."""
    is_union = get_origin(hint) in (Union, UnionType)
    members = get_args(hint) if is_union else (hint,)
    return next((member for member in members if member in (int, float)), None)


def _number(value: Any, number_type: type | None) -> Any:
    """Return the number that a text is: YAML takes `1e-4` for a text."""
    if not isinstance(value, str) or number_type is None:
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    is_whole = number_type is int and number.is_integer()
    return int(number) if is_whole else number


def _as_choice(value: Any) -> Any:
    """Return a value as Optuna's storages take it."""
    if isinstance(value, list | dict):
        return json.dumps(value)
    return value
