"""Callbacks of long runs: checkpoints, stops by signals, and a check of the loss."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.base.signals import StopRequest
from tfdlrm.checkpoints.writer import CheckpointWriter
from tfdlrm.config import CheckpointConfig
from tfdlrm.training.curves import CurvePoint, CurveRecorder
from tfdlrm.training.run_directory import RunDirectory


class NotFiniteError(InputError):
    """The loss is not finite."""


class Checkpointer(keras.callbacks.Callback):
    """Callback that begins checkpoints regularly, and one when a signal asks to stop.

    Args:
        writer: The writer of the checkpoints.
        config: How often to begin one.
        recorder: The recorder of steps and curves, an earlier callback.
        request: The signal that has come, if any.
        state: Other values of a checkpoint.
    """

    def __init__(
        self,
        writer: CheckpointWriter,
        config: CheckpointConfig,
        recorder: CurveRecorder,
        request: StopRequest,
        state: dict[str, Any],
    ) -> None:
        super().__init__()
        self._writer = writer
        self._config = config
        self._recorder = recorder
        self._request = request
        self._state = state
        self._begun_step = recorder.step
        self._begun_at = time.perf_counter()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self.leave_if_asked()
        is_due = self._is_due()
        if self._writer.is_busy and (self._writer.writes_tables or not is_due):
            return
        try:
            if self._writer.poll() or is_due:
                self._begin()
        except OSError as error:
            print(f"\nno checkpoint of step {self._begun_step:,}: {error}")

    def leave_if_asked(self) -> None:
        """Save this step and end the program, if a signal has come."""
        if self._request.signal is None:
            return
        self.save_last()
        print(f"\nstopped after step {self._recorder.step:,}, which was saved")
        self._request.leave()

    def save_last(self, is_changed: bool = False) -> None:
        """Write a checkpoint of the step, unless it exists.

        Args:
            is_changed: Whether its weights may differ from those of an existing one.

        Raises:
            InputError: If the disk refuses.
        """
        try:
            self._writer.save(self._recorder.step, self._current_state(), is_changed)
        except OSError as error:
            raise InputError(
                f"the last checkpoint cannot be written ({error}): make room, and give "
                "the same command with this run's directory as --run_dir; it goes on "
                "from the checkpoint before"
            ) from error

    def _begin(self) -> None:
        self._begun_step = self._recorder.step
        self._begun_at = time.perf_counter()
        self._writer.begin(self._begun_step, self._current_state())

    def _current_state(self) -> dict[str, Any]:
        return {
            **self._state,
            "step": self._recorder.step,
            "seconds": self._recorder.seconds,
            "points": [asdict(point) for point in self._recorder.points],
            "metrics": [
                copies[0].numpy().tolist() for copies in _metric_variables(self.model)
            ],
        }

    def _is_due(self) -> bool:
        steps = self._recorder.step - self._begun_step
        minutes = (time.perf_counter() - self._begun_at) / 60
        return (
            self._config.minutes is not None and minutes >= self._config.minutes
        ) or (self._config.steps is not None and steps >= self._config.steps)


class StopWithChief(keras.callbacks.Callback):
    """Callback that lets a worker continue after a signal until the chief has stopped.

    If all workers get the signal at once, the chief needs them for its present step,
    and saves it; then this worker notices that the chief is gone. If only this worker
    gets it, it leaves after a while, and the others notice.

    Args:
        request: The signal that has come, if any.
    """

    SECONDS = 10.0

    def __init__(self, request: StopRequest) -> None:
        super().__init__()
        self._request = request
        self._noticed_at: float | None = None

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._request.signal is None:
            return
        self._noticed_at = self._noticed_at or time.perf_counter()
        if time.perf_counter() - self._noticed_at > self.SECONDS:
            self._request.leave()


class MetricsRestorer(keras.callbacks.Callback):
    """Callback that restores the metrics of a half-done epoch after Keras resets them.

    Args:
        values: The value of each variable, in order.
    """

    def __init__(self, values: list[Any]) -> None:
        super().__init__()
        self._values = values

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._values:
            variables = _metric_variables(self.model)
            for copies, value in zip(variables, self._values, strict=True):
                for copy in copies:
                    copy.assign(value)
            self._values = []


class FiniteLoss(keras.callbacks.Callback):
    """Callback that stops at a loss that is not finite, and saves the rows behind it.

    Args:
        run: The run whose directory gets the rows.
        recorder: The recorder of the steps, a later callback.
        batch_at: Reads the batch of a step again.
    """

    def __init__(
        self,
        run: RunDirectory,
        recorder: CurveRecorder,
        batch_at: Callable[[int], tuple[dict[str, Any], tf.Tensor]],
    ) -> None:
        super().__init__()
        self._run = run
        self._recorder = recorder
        self._batch_at = batch_at

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        loss = (logs or {})["loss"]
        if math.isfinite(loss):
            return
        # An execution of several steps does not show in which of them it happened.
        first_step = self._recorder.step + 1
        last_step = max(first_step, self._recorder.step_at(batch))
        paths = [self._save_batch(step) for step in range(first_step, last_step + 1)]
        directory = self._run.remote or self._run.own_directory
        step, files = f"at step {first_step:,}", str(directory / paths[0].name)
        if len(paths) > 1:
            step = f"in one of the steps {first_step:,} to {last_step:,}"
            files += f" to {paths[-1].name}"
        raise NotFiniteError(
            f"the loss became {loss} {step}, expected a finite number; the rows are in "
            f"{files}: lower --optimizer.learning_rate, or look at the rows"
        )

    def _save_batch(self, step: int) -> Path:
        directory = self._run.own_directory
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"batch-at-step-{step}.npz"
        features, label = self._batch_at(step - 1)
        copies_of = self.model.distribute_strategy.experimental_local_results
        arrays = {
            name: _dense(tf.concat(copies_of(values), axis=0))
            for name, values in {"label": label, **features}.items()
        }
        with storage.whole(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
        return path


def restored_points(state: dict[str, Any]) -> list[CurvePoint]:
    """Return the points of the curves in the state of a checkpoint."""
    return [CurvePoint.from_json(point) for point in state["points"]]


def _metric_variables(model: keras.Model) -> list[tuple[tf.Variable, ...]]:
    """Return the variables of the metrics, each as its copies on this process' devices.

    Reading such a variable as a whole would add up the copies, of other workers too.
    """
    variables = [variable for metric in model.metrics for variable in metric.variables]
    copies_of = model.distribute_strategy.experimental_local_results
    return [copies_of(variable.value) for variable in variables]


def _dense(values: Any) -> np.ndarray:
    is_ragged = isinstance(values, tf.RaggedTensor)
    return np.asarray(values.to_tensor(-1) if is_ragged else values)
