"""Learning rates that change with the training step."""

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
