"""A profile of some training steps, by TensorFlow's profiler.

Keras' `TensorBoard(profile_batch=…)` does not count what `profile_steps` means: it
counts executions, of `steps_per_execution` steps each, and starts at 0 in resumed runs.
"""

from typing import Any

import keras
import tensorflow as tf

from tfdlrm.training.curves import CurveRecorder
from tfdlrm.training.run_directory import RunDirectory


class Profiler(keras.callbacks.Callback):
    """Profiles training steps.

    Args:
        run: The run whose directory gets the profile.
        recorder: Counts the steps; Keras must call it before this callback.
        steps: The first and the last step; `None` for no profile. Profiling begins and
            ends with whole executions.
    """

    def __init__(
        self,
        run: RunDirectory,
        recorder: CurveRecorder,
        steps: tuple[int, int] | None,
    ) -> None:
        super().__init__()
        self._directory = run.profile_directory
        self._recorder = recorder
        self._steps = steps
        self._is_running = False

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._steps is None or self._is_running:
            return
        first_step, last_step = self._steps
        step = self._recorder.step
        if step < last_step and first_step <= step + self.model.steps_per_execution:
            tf.profiler.experimental.start(str(self._directory))
            self._is_running = True

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._is_running and self._steps and self._recorder.step >= self._steps[1]:
            self.close()

    def close(self) -> None:
        """Write the profile, if the profiler is running."""
        if self._is_running:
            tf.profiler.experimental.stop()
            self._is_running = False
            print(f"\nProfile: tensorboard --logdir {self._directory}")
        elif self._steps and self._recorder.step < self._steps[0]:
            print(f"No profile: training ended after step {self._recorder.step:,}")
