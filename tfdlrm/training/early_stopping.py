"""Stop training when validation no longer gets better."""

from collections.abc import Sequence
from typing import Any

import keras

from tfdlrm.base.errors import InputError
from tfdlrm.config import EarlyStoppingConfig
from tfdlrm.training.best_weights import (
    check_best_weights,
    load_best_weights,
    write_best_weights,
)
from tfdlrm.training.curves import CurvePoint, CurveRecorder, validation_points
from tfdlrm.training.run_directory import RunDirectory


class EarlyStopping(keras.callbacks.Callback):
    """Callback that ends training some points of the validation curve after the best.

    It depends on the curve alone, which a checkpoint holds: a run that is resumed after
    a kill ends at the same step.

    Args:
        run: The run, which keeps the weights of the best point.
        recorder: The recorder of the curve, an earlier callback.
        config: When to stop, and by which measure.

    Raises:
        InputError: If the run is resumed and its best weights are missing or damaged.
    """

    def __init__(
        self,
        run: RunDirectory,
        recorder: CurveRecorder,
        config: EarlyStoppingConfig,
    ) -> None:
        super().__init__()
        self._run = run
        self._recorder = recorder
        self._config = config
        self._num_points = len(validation_points(recorder.points))
        if self._num_points:
            check_best_weights(run)  # now, not after hours of training

    @property
    def is_over(self) -> bool:
        """Whether training ends according to the curve."""
        return has_stopped(self._recorder.points, self._config)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        points = validation_points(self._recorder.points)
        if len(points) == self._num_points:
            return
        self._num_points = len(points)
        if _best_of(points, self._config) == len(points) - 1:
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
        points = validation_points(self._recorder.points)
        best = points[_best_of(points, self._config)]
        load_best_weights(model, self._run)
        print(
            f"Keeping the weights of step {best.step:,}, of "
            f"{self._config.best_in_words}, {abs(best.cost(self._config.metric)):.4f}"
        )


def has_stopped(points: Sequence[CurvePoint], config: EarlyStoppingConfig) -> bool:
    """Return whether early stopping ends a run that has these learning curves."""
    validation = validation_points(points)
    if not validation:
        return False
    return len(validation) - 1 - _best_of(validation, config) >= config.patience


def kept_step(
    points: Sequence[CurvePoint], config: EarlyStoppingConfig | None
) -> int | None:
    """Return the training step whose weights a run keeps; `None` without any point.

    Args:
        points: The learning curves.
        config: Early stopping of the run; without it, or without validation rows, the
            last step is kept.
    """
    validation = validation_points(points)
    if config is not None and validation:
        return validation[_best_of(validation, config)].step
    return points[-1].step if points else None


def _best_of(points: list[CurvePoint], config: EarlyStoppingConfig) -> int:
    """Return the index of the best point, the first of equals."""
    return min(range(len(points)), key=lambda index: points[index].cost(config.metric))
