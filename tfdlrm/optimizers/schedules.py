"""Learning rates that change with the training step."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

MIN_LEARNING_RATE = 1e-7


@keras.saving.register_keras_serializable("tfdlrm")
class WarmUpPolynomialDecay(keras.optimizers.schedules.LearningRateSchedule):
    """The reference implementation's linear warm-up and quadratic decay.

    Counting steps from 1, the rate is `learning_rate * step / warm_up_steps` before
    step `warm_up_steps`, and `learning_rate * (1 - d) ** 2` in the decay, where `d` is
    the share of the decay that is over. Between the two and after them the rate stays
    as it was; between them it is a little below `learning_rate`.

    Args:
        learning_rate: Rate at the end of the warm-up.
        warm_up_steps: Length of the warm-up; 0 for none.
        decay_start_step: Step at which the decay begins.
        decay_steps: Length of the decay; 0 for none.

    Raises:
        ValueError: If the decay starts before the warm-up ends.

    Example:

    >>> schedule = WarmUpPolynomialDecay(1.0, 4, decay_start_step=6, decay_steps=2)
    >>> [float(schedule(step)) for step in range(8)]
    [0.25, 0.5, 0.75, 0.75, 0.75, 1.0, 0.25, 0.25]

    Reference:
        `LRPolicyScheduler` of github.com/facebookresearch/dlrm.
    """

    def __init__(
        self,
        learning_rate: float,
        warm_up_steps: int = 0,
        decay_start_step: int = 0,
        decay_steps: int = 0,
    ) -> None:
        if decay_steps and decay_start_step < warm_up_steps:
            raise ValueError(
                f"Got decay_start_step={decay_start_step} and warm_up_steps="
                f"{warm_up_steps}: expected the decay to start after the warm-up."
            )
        self.learning_rate = learning_rate
        self.warm_up_steps = warm_up_steps
        self.decay_start_step = decay_start_step
        self.decay_steps = decay_steps

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32") + 1  # Keras counts from 0
        last_step = self.warm_up_steps
        if self.decay_steps and last_step > 1:
            last_step -= 1  # the rate freezes one step before the end of the warm-up
        scale = 1.0
        if self.warm_up_steps:
            scale = ops.minimum(step, last_step) / self.warm_up_steps
        if not self.decay_steps:
            return self.learning_rate * scale
        past_steps = ops.clip(step - self.decay_start_step, 0, self.decay_steps - 1)
        decay = ops.square(1 - past_steps / self.decay_steps)
        scale = ops.where(step < self.decay_start_step, scale, decay)
        return ops.maximum(self.learning_rate * scale, MIN_LEARNING_RATE)

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "warm_up_steps": self.warm_up_steps,
            "decay_start_step": self.decay_start_step,
            "decay_steps": self.decay_steps,
        }


class RunSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Base of the schedules that begin with a run, after a linear warm-up.

    Counting steps of the run from 1, the warm-up multiplies the rate by
    `step / warm_up_steps` before step `warm_up_steps`.

    Args:
        learning_rate: Rate at the end of the warm-up.
        warm_up_steps: Length of the warm-up; 0 for none.
        first_step: Steps that the optimizer had done when the run began.
    """

    def __init__(
        self, learning_rate: float, warm_up_steps: int = 0, first_step: int = 0
    ) -> None:
        self.learning_rate = learning_rate
        self.warm_up_steps = warm_up_steps
        self.first_step = first_step

    def __call__(self, step: Any) -> Any:
        # Whole numbers first: float32 does not hold those beyond 16,777,216.
        step = ops.cast(ops.cast(step, "int64") - self.first_step, "float32")
        rate = self._rate_at(step)
        if not self.warm_up_steps:
            return rate
        return rate * ops.minimum((step + 1) / self.warm_up_steps, 1.0)

    def _rate_at(self, step: Any) -> Any:
        """Return the rate without the warm-up, after so many steps of the run."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "warm_up_steps": self.warm_up_steps,
            "first_step": self.first_step,
        }


@keras.saving.register_keras_serializable("tfdlrm")
class WarmUpCosineDecay(RunSchedule):
    """Half a wave of a cosine from the learning rate down to a share of it.

    Args:
        learning_rate: Rate at the end of the warm-up.
        decay_steps: Length of the decay, which follows the warm-up.
        final_share: Share of the learning rate that is left at the end, and stays.
        warm_up_steps: Length of the warm-up; 0 for none.
        first_step: Steps that the optimizer had done when the run began.

    Example:

    >>> schedule = WarmUpCosineDecay(1.0, decay_steps=2, warm_up_steps=2)
    >>> [round(float(schedule(step)), 4) for step in range(5)]
    [0.5, 1.0, 1.0, 0.5, 0.0]

    Reference:
        [Loshchilov and Hutter, 2017](https://arxiv.org/abs/1608.03983), without its
        restarts.
    """

    def __init__(
        self,
        learning_rate: float,
        decay_steps: int,
        final_share: float = 0.0,
        warm_up_steps: int = 0,
        first_step: int = 0,
    ) -> None:
        super().__init__(learning_rate, warm_up_steps, first_step)
        self.decay_steps = decay_steps
        self.final_share = final_share

    def _rate_at(self, step: Any) -> Any:
        past = ops.clip((step - self.warm_up_steps) / self.decay_steps, 0.0, 1.0)
        wave = 0.5 * (1.0 + ops.cos(math.pi * past))
        return self.learning_rate * (self.final_share + (1 - self.final_share) * wave)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "decay_steps": self.decay_steps,
            "final_share": self.final_share,
        }


@keras.saving.register_keras_serializable("tfdlrm")
class WarmUpPiecewiseDecay(RunSchedule):
    """The learning rate times a constant factor between certain steps.

    Args:
        learning_rate: Rate at the end of the warm-up, until the first of `steps`.
        steps: Steps after which the factors hold, in ascending order.
        factors: Factor of `learning_rate` after each of `steps`.
        warm_up_steps: Length of the warm-up; 0 for none.
        first_step: Steps that the optimizer had done when the run began.

    Example:

    >>> schedule = WarmUpPiecewiseDecay(1.0, steps=[2, 3], factors=[0.5, 0.25])
    >>> [float(schedule(step)) for step in range(5)]
    [1.0, 1.0, 0.5, 0.25, 0.25]
    """

    def __init__(
        self,
        learning_rate: float,
        steps: Sequence[int],
        factors: Sequence[float],
        warm_up_steps: int = 0,
        first_step: int = 0,
    ) -> None:
        super().__init__(learning_rate, warm_up_steps, first_step)
        self.steps = list(steps)
        self.factors = list(factors)

    def _rate_at(self, step: Any) -> Any:
        rate: Any = self.learning_rate
        for start, factor in zip(self.steps, self.factors, strict=True):
            rate = ops.where(step < start, rate, self.learning_rate * factor)
        return rate

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "steps": self.steps, "factors": self.factors}


@keras.saving.register_keras_serializable("tfdlrm")
class WarmUpPlateauDecay(RunSchedule):
    """The learning rate times a factor for each time that it was reduced.

    Args:
        learning_rate: Rate at the end of the warm-up, until it is reduced.
        factor: Factor of the rate each time.
        min_rate: The rate never falls below this.
        num_reductions: How often it was reduced; assign to it to reduce the rate.
        warm_up_steps: Length of the warm-up; 0 for none.
        first_step: Steps that the optimizer had done when the run began.

    Example:

    >>> schedule = WarmUpPlateauDecay(1.0, factor=0.5, min_rate=0.2)
    >>> float(schedule(0))
    1.0
    >>> schedule.num_reductions = 2
    >>> float(schedule(1))
    0.25
    """

    def __init__(
        self,
        learning_rate: float,
        factor: float = 0.1,
        min_rate: float = 0.0,
        num_reductions: int = 0,
        warm_up_steps: int = 0,
        first_step: int = 0,
    ) -> None:
        super().__init__(learning_rate, warm_up_steps, first_step)
        self.factor = factor
        self.min_rate = min_rate
        # A variable: compiled steps see the present value.
        self._scale = keras.Variable(
            1.0, dtype="float32", trainable=False, aggregation="only_first_replica"
        )
        self.num_reductions = num_reductions

    @property
    def num_reductions(self) -> int:
        """How often the rate was reduced."""
        return self._num_reductions

    @num_reductions.setter
    def num_reductions(self, number: int) -> None:
        self._num_reductions = number
        self._scale.assign(self.factor**number)

    def _rate_at(self, step: Any) -> Any:
        del step
        lowest = min(self.min_rate, self.learning_rate)
        return ops.maximum(self.learning_rate * self._scale, lowest)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "factor": self.factor,
            "min_rate": self.min_rate,
            "num_reductions": self.num_reductions,
        }
