"""Settings of the optimizer, as frozen dataclasses."""

from dataclasses import dataclass
from typing import Literal

from tfdlrm.base.errors import require
from tfdlrm.config.values import take_values

OptimizerName = Literal["sgd", "adagrad", "row_wise_adagrad", "lazy_adam"]
"""The optimizers of `tfdlrm.optimizers`."""


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer.

    Args:
        name: Which one of `tfdlrm.optimizers`.
        learning_rate: Step size; with a schedule, the one at the end of its warm-up.
        warm_up_steps: Training steps over which the learning rate rises from 0 to that
            size; as the reference implementation's `--lr-num-warmup-steps`.
        decay_start_step: Training step at which a quadratic decay to 0 begins.
        decay_steps: Length of the decay in steps; 0 for none.
    """

    name: OptimizerName = "adagrad"
    learning_rate: float = 0.01
    warm_up_steps: int = 0
    decay_start_step: int = 0
    decay_steps: int = 0

    def __post_init__(self) -> None:
        take_values(self)
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "> 0")
        for name in ("warm_up_steps", "decay_start_step", "decay_steps"):
            require(getattr(self, name) >= 0, name, getattr(self, name), ">= 0")
        start, end = self.decay_start_step, self.warm_up_steps
        if self.decay_steps:
            expected = f">= warm_up_steps, which is {end}"
            require(start >= end, "decay_start_step", start, expected)
        else:
            require(start == 0, "decay_start_step", start, "0 without decay_steps")

    @property
    def has_schedule(self) -> bool:
        """Whether the learning rate changes with the training step."""
        return bool(self.warm_up_steps or self.decay_steps)
