"""Stop training when the validation loss no longer falls."""

from collections.abc import Sequence
from typing import Any

import keras

from tfdlrm.base.errors import InputError
from tfdlrm.training.best_weights import (
    check_best_weights,
    load_best_weights,
    write_best_weights,
)
from tfdlrm.training.curves import CurvePoint, CurveRecorder
from tfdlrm.training.run_directory import RunDirectory


class EarlyStopping(keras.callbacks.Callback):
    """Callback that ends training some points of the validation curve after the best.

    It depends on the curve alone, which a checkpoint holds: a run that is resumed after
    a kill ends at the same step.

    Args:
        run: The run, which keeps the weights of the best point.
        recorder: The recorder of the curve, an earlier callback.
        patience: Points in a row that are no better than the best one before them.

    Raises:
        InputError: If the run is resumed and its best weights are missing or damaged.
    """

    def __init__(
        self, run: RunDirectory, recorder: CurveRecorder, patience: int
    ) -> None:
        super().__init__()
        self._run = run
        self._recorder = recorder
        self._patience = patience
        self._num_points = len(self._validation_points())
        if self._num_points:
            check_best_weights(run)  # now, not after hours of training

    @property
    def is_over(self) -> bool:
        """Whether training ends according to the curve."""
        return has_stopped(self._recorder.points, self._patience)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        points = self._validation_points()
        if len(points) == self._num_points:
            return
        self._num_points = len(points)
        if _best_of(points) == len(points) - 1:
            self._save()
        elif self.is_over:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # There may be a last point, if a callback of the user ended the epoch.
        self.on_train_batch_end(0)

    def _save(self) -> None:
        try:
            write_best_weights(self.model, self._run)
        except OSError as error:
            raise InputError(
                f"the weights of step {self._recorder.step:,}, the best so far, cannot "
                f"be written ({error}): make room, and give the same command with this "
                "run's directory as --run_dir; it goes on from the last checkpoint"
            ) from error

    def restore_best(self, model: keras.Model) -> None:
        """Load the weights of the best point into `model`, and print which it was."""
        points = self._validation_points()
        best = points[_best_of(points)]
        load_best_weights(model, self._run)
        print(
            f"Keeping the weights of step {best.step:,}, of the lowest validation log "
            f"loss, {best.loss:.4f}"
        )

    def _validation_points(self) -> list[CurvePoint]:
        return [point for point in self._recorder.points if point.split == "validation"]


def has_stopped(points: Sequence[CurvePoint], patience: int) -> bool:
    """Return whether early stopping ends a run that has these learning curves."""
    validation_points = [point for point in points if point.split == "validation"]
    if not validation_points:
        return False
    return len(validation_points) - 1 - _best_of(validation_points) >= patience


def kept_step(points: Sequence[CurvePoint], patience: int | None) -> int:
    """Return the training step whose weights a finished run keeps.

    Args:
        points: The learning curves.
        patience: Setting `early_stopping` of the run; `None` keeps the last step.
    """
    if patience is None:
        return points[-1].step
    validation_points = [point for point in points if point.split == "validation"]
    return validation_points[_best_of(validation_points)].step


def _best_of(points: list[CurvePoint]) -> int:
    """Return the index of the point with the lowest loss, the first of equals."""
    return min(range(len(points)), key=lambda index: points[index].loss)
