"""Points of the learning curves, watched by who may end the training."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfdlrm.training.curves import CurvePoint, CurveRecorder


class TrainingEndedError(Exception):
    """Raised by who watches the learning curves, to end the training at once."""


class WatchedPoints(keras.callbacks.Callback):
    """Callback that shows new points of the learning curves.

    It comes after the checkpointer, in which a signal ends the run: a point that was
    not shown before such an end is shown when the run is resumed.

    Args:
        recorder: The recorder of the curves, an earlier callback.
        watch: Gets all points; may raise `TrainingEndedError`.
    """

    def __init__(
        self, recorder: CurveRecorder, watch: Callable[[Sequence[CurvePoint]], None]
    ) -> None:
        super().__init__()
        self._recorder = recorder
        self._watch = watch
        self._num_points = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._show()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._show()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._show()

    def _show(self) -> None:
        points = self._recorder.points
        if len(points) > self._num_points:
            self._num_points = len(points)
            self._watch(points)
