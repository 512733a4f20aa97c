"""Check a space before anything trains: each value is possible in some trial."""

import random
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig
from tfdlrm.config.plain_settings import train_config_of
from tfdlrm.tuning.space import Space
from tfdlrm.tuning.trial_settings import trial_settings

_ATTEMPTS = 6
"""Combinations that a value is tried in before it counts as impossible."""


def check_space(
    space: Space, base: TrainConfig, accept: Callable[[TrainConfig], object]
) -> None:
    """Refuse a space with a value that training refuses in whatever combination.

    Of a range the bounds are checked. Combinations that are refused although each of
    their values is possible are trials that fail.

    Args:
        space: The space.
        base: The settings that all trials share.
        accept: Raises `InputError` for settings that do not suit the data set.

    Raises:
        InputError: If there is such a value; the message is that of training.
    """
    accepted: set[tuple[str, int]] = set()

    def refusal_of(positions: dict[str, int]) -> InputError | None:
        values = {
            name: space.dimensions[name].examples[position]
            for name, position in positions.items()
        }
        try:
            accept(train_config_of(trial_settings(base, values)))
        except InputError as error:
            return error
        accepted.update(positions.items())
        return None

    for positions in _diagonals(space):
        refusal_of(positions)
    for name, dimension in space.dimensions.items():
        for position in range(len(dimension.examples)):
            if (name, position) not in accepted:
                _check_value(space, name, position, refusal_of)


def _check_value(
    space: Space,
    name: str,
    position: int,
    refusal_of: Callable[[dict[str, int]], InputError | None],
) -> None:
    """Refuse a value that is refused together with some values of all others."""
    refusals = []
    for positions in _combinations(space, name, position):
        refusal = refusal_of(positions)
        if refusal is None:
            return
        refusals.append(refusal)
    if refusals:
        raise InputError(str(refusals[0]).removesuffix(" (--help lists what there is)"))
    raise InputError(f"{name} is a setting that no trial has")


def _diagonals(space: Space) -> Iterator[dict[str, int]]:
    """Yield combinations in which every value occurs once or more."""
    length = max(len(dimension.examples) for dimension in space.dimensions.values())
    for choices in _switch_choices(space):
        for index in range(length):
            positions = {
                name: min(index, len(dimension.examples) - 1)
                for name, dimension in space.dimensions.items()
            }
            yield _applicable(space, {**positions, **choices})


def _combinations(space: Space, name: str, position: int) -> Iterator[dict[str, int]]:
    """Yield combinations of one value with others, the first of each at first."""
    seen = []
    numbers = random.Random(0)
    sizes = {key: len(item.examples) for key, item in space.dimensions.items()}
    for choices in _switch_choices(space):
        for attempt in range(_ATTEMPTS):
            if attempt == 0:
                positions = dict.fromkeys(sizes, 0)
            elif attempt == 1:
                positions = {key: size - 1 for key, size in sizes.items()}
            else:
                positions = {
                    key: numbers.randrange(size) for key, size in sizes.items()
                }
            positions = _applicable(space, {**positions, **choices, name: position})
            if name in positions and positions not in seen:
                seen.append(positions)
                yield positions


def _switch_choices(space: Space) -> Iterator[dict[str, int]]:
    """Yield the positions of the settings that choose others, in all combinations."""
    names = [name for name in space.settings.switches if name in space.dimensions]
    sizes = [len(space.dimensions[name].examples) for name in names]
    for choice in product(*map(range, sizes)):
        yield dict(zip(names, choice, strict=True))


def _applicable(space: Space, positions: dict[str, int]) -> dict[str, int]:
    """Return the positions of the settings that such a trial has."""
    switches: dict[str, Any] = {
        name: space.dimensions[name].examples[position]
        for name, position in positions.items()
        if name in space.settings.switches
    }
    return {
        name: position
        for name, position in positions.items()
        if space.settings.has(name, switches)
    }
