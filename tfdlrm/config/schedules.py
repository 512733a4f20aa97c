"""Settings of schedules, which are factors of the learning rates of all variables."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from tfdlrm.base.errors import InputError, require, require_one
from tfdlrm.config.early_stopping import Measure
from tfdlrm.config.values import take_values


@dataclass(frozen=True)
class CosineConfig:
    """Half a wave of a cosine from the learning rate down to a share of it.

    Args:
        name: Name of the schedule; null means none.
        steps: Training steps of the decay, after the warm-up; null means all steps
            until the end of the last epoch.
        final_share: Share of the learning rate that is left at the end.
        warm_up_steps: Training steps over which the learning rate rises from 0.
    """

    name: Literal["cosine"] = "cosine"
    steps: int | None = None
    final_share: float = 0.0
    warm_up_steps: int = 0

    def __post_init__(self) -> None:
        take_values(self)
        require(self.steps is None or self.steps >= 1, "steps", self.steps, ">= 1")
        share = self.final_share
        require(0 <= share < 1, "final_share", share, "in [0, 1)")
        _check_warm_up(self.warm_up_steps)

    def in_steps(self, steps_per_epoch: int, epochs: int) -> "CosineConfig":
        """Return the same for a run of so many epochs.

        Raises:
            InputError: If no step is left after the warm-up.
        """
        if self.steps is not None:
            return self
        steps = epochs * steps_per_epoch
        expected = (
            f"less than {steps:,}, the steps of all epochs, since no optimizer.schedule"
            ".steps are given"
        )
        warm_up_steps = self.warm_up_steps
        name = "optimizer.schedule.warm_up_steps"
        require(warm_up_steps < steps, name, warm_up_steps, expected)
        return replace(self, steps=steps - warm_up_steps)


@dataclass(frozen=True)
class PiecewiseConfig:
    """The learning rate times a constant factor between certain steps.

    Args:
        name: Name of the schedule; null means none.
        factors: Factor of the learning rate from each of these steps, or ends of
            epochs, on; before the first it is 1.
        steps: Training steps after which the factors hold, in ascending order.
        epochs: Instead of steps, numbers of epochs after which they hold, such as
            `10,15.5`.
        warm_up_steps: Training steps over which the learning rate rises from 0.
    """

    name: Literal["piecewise"] = "piecewise"
    factors: tuple[float, ...] = ()
    steps: tuple[int, ...] = ()
    epochs: tuple[float, ...] = ()
    warm_up_steps: int = 0

    def __post_init__(self) -> None:
        take_values(self)
        expected = (
            "where the factors hold, such as steps 1000,2000 and factors 0.1,0.01"
        )
        require_one(expected, steps=self.steps, epochs=self.epochs)
        name, values = ("steps", self.steps) if self.steps else ("epochs", self.epochs)
        ascends = values[0] > 0 and all(low < high for low, high in pairwise(values))
        require(ascends, name, values, "positive numbers in ascending order")
        number = len(values)
        expected = f"{number} positive numbers, one for each of {name}"
        fits = len(self.factors) == number and all(f > 0 for f in self.factors)
        require(fits, "factors", self.factors, expected)
        _check_warm_up(self.warm_up_steps)

    def in_steps(self, steps_per_epoch: int, epochs: int) -> "PiecewiseConfig":
        """Return the same with steps in place of epochs.

        Raises:
            InputError: If two of them are the same step.
        """
        if self.steps:
            return self
        steps = tuple(max(1, round(end * steps_per_epoch)) for end in self.epochs)
        if len(set(steps)) < len(steps):
            raise InputError(
                f"optimizer.schedule.epochs are steps {', '.join(map(str, steps))} of "
                f"epochs of {steps_per_epoch:,} steps, expected different steps"
            )
        return replace(self, steps=steps, epochs=())


@dataclass(frozen=True)
class PlateauConfig:
    """The learning rate falls whenever validation stops getting better.

    It depends on the validation curve of the run alone.

    Args:
        name: Name of the schedule; null means none.
        metric: Measure of the validation rows that has to get better: `log_loss` lower,
            or `auc` higher.
        factor: Factor of the learning rate each time.
        patience: Points in a row of the validation curve that are no better than the
            best before them, after which the learning rate falls.
        min_delta: A point is better only if it is so by more than this.
        min_rate: The learning rate never falls below this.
        warm_up_steps: Training steps over which the learning rate rises from 0.
    """

    name: Literal["plateau"] = "plateau"
    metric: Measure = "log_loss"
    factor: float = 0.1
    patience: int = 1
    min_delta: float = 0.0
    min_rate: float = 0.0
    warm_up_steps: int = 0

    def __post_init__(self) -> None:
        take_values(self)
        require(0 < self.factor < 1, "factor", self.factor, "in (0, 1)")
        require(self.patience >= 1, "patience", self.patience, ">= 1")
        for name in ("min_delta", "min_rate"):
            require(getattr(self, name) >= 0, name, getattr(self, name), ">= 0")
        _check_warm_up(self.warm_up_steps)

    def in_steps(self, steps_per_epoch: int, epochs: int) -> "PlateauConfig":
        """Return the same: it has no lengths in epochs."""
        return self


ScheduleConfig = CosineConfig | PiecewiseConfig | PlateauConfig
"""Any of them; the field `name` tells which."""


def _check_warm_up(steps: int) -> None:
    require(steps >= 0, "warm_up_steps", steps, ">= 0")
