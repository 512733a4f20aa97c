"""The lines and the progress bar that a run prints in each epoch."""

import math
from typing import Any

import keras

from tfdlrm.training.curves import CurveRecorder


class EpochLines(keras.callbacks.ProgbarLogger):
    """Keras' progress bar, in a run that calls `fit` once an epoch.

    It counts the epochs of the run, and in each epoch the steps that were done.

    Args:
        recorder: The recorder of the curves, an earlier callback.
        epochs: Epochs of the run.
    """

    seen: Any
    target: Any

    def __init__(self, recorder: CurveRecorder, epochs: int) -> None:
        super().__init__()
        self._recorder = recorder
        self._num_epochs = epochs

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params({**params, "epochs": self._num_epochs})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        num_done = min(self.seen, self.target)
        if num_done < self.target:  # training ended early
            self.target = self.progbar.target = num_done
        super().on_epoch_end(epoch, self._defined(logs or {}))

    def _defined(self, logs: dict[str, Any]) -> dict[str, Any]:
        """Return the measures without an AUC that the labels leave undefined."""
        points = [point for point in self._recorder.points if point.split == "train"]
        if points and math.isnan(points[-1].auc):
            return {name: value for name, value in logs.items() if name != "auc"}
        return logs
