"""A look at some training steps with TensorFlow's profiler."""

from typing import Any

import keras
import tensorflow as tf

from tfdlrm.training.curves import CurveRecorder
from tfdlrm.training.run_directory import RunDirectory


class Profiler(keras.callbacks.Callback):
    """Profiles the training from one step to another.

    Args:
        run: Where the profile goes.
        recorder: Keeps count of the steps; its turn comes before.
        steps: The first and the last step; `None` for no profile. All steps of an
            execution are profiled with them.
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
        first, last = self._steps
        done = self._recorder.step
        if done < last and first <= done + self.model.steps_per_execution:
            tf.profiler.experimental.start(str(self._directory))
            self._is_running = True

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._is_running and self._steps and self._recorder.step >= self._steps[1]:
            self.close()

    def close(self) -> None:
        """Write what was seen, if the profiler is at work."""
        if self._is_running:
            tf.profiler.experimental.stop()
            self._is_running = False
            print(f"\nProfile: tensorboard --logdir {self._directory}")
        elif self._steps and self._recorder.step < self._steps[0]:
            print(f"No profile: training ended after step {self._recorder.step:,}")
