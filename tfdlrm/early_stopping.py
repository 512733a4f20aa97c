"""Stopping when validation rows say that more training makes it worse."""

from typing import Any

import keras

from tfdlrm.curves import CurvePoint, CurveRecorder
from tfdlrm.errors import InputError
from tfdlrm.run_directory import RunDirectory


class EarlyStopping(keras.callbacks.Callback):
    """Ends training some points of the validation curve after its best one.

    Everything it goes by is in the curve, which a checkpoint holds: a run that goes on
    after a kill ends where it would have.

    Args:
        run: Keeps the weights of the best point.
        recorder: Takes the curve; its turn comes before.
        patience: Points in a row that are no better than the best before them.
    """

    def __init__(
        self, run: RunDirectory, recorder: CurveRecorder, patience: int
    ) -> None:
        super().__init__()
        self._file = run.best_weights_file
        self._recorder = recorder
        self._patience = patience
        self._num_seen = len(self._validation_points())

    @property
    def is_over(self) -> bool:
        """Whether the curve says that training is to end."""
        points = self._validation_points()
        return bool(points) and len(points) - 1 - _best_of(points) >= self._patience

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        points = self._validation_points()
        if len(points) == self._num_seen:
            return
        self._num_seen = len(points)
        if _best_of(points) == len(points) - 1:
            self._save()
        elif self.is_over:
            self.model.stop_training = True

    def _save(self) -> None:
        aside = self._file.with_name(f"partial-{self._file.name}")
        try:
            self.model.save_weights(aside)
            aside.replace(self._file)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise InputError(
                f"the weights of step {self._recorder.step:,}, the best so far, cannot "
                f"be written ({error}): make room, and give the same command with this "
                "run's directory as --run_dir; it goes on from the last checkpoint"
            ) from error

    def restore_best(self, model: keras.Model) -> None:
        """Give `model` the weights of the best point, and say which it was."""
        points = self._validation_points()
        best = points[_best_of(points)]
        model.load_weights(self._file)
        print(
            f"Keeping the weights of step {best.step:,}, of the lowest validation log "
            f"loss, {best.loss:.4f}"
        )

    def _validation_points(self) -> list[CurvePoint]:
        return [point for point in self._recorder.points if point.split == "validation"]


def _best_of(points: list[CurvePoint]) -> int:
    """Which point has the lowest loss, the first of equals."""
    return min(range(len(points)), key=lambda i: points[i].loss)
