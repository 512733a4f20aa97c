"""The user's own Keras callbacks in a run, which calls `fit` once an epoch."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdlrm.base.errors import InputError
from tfdlrm.training.curves import CurveRecorder
from tfdlrm.training.distribution import of_all_workers


class OwnCallbacks(keras.callbacks.Callback):
    """Callback that calls the user's as one `fit` over all epochs would.

    Batches count from the start of the epoch, also in a run that is resumed in the
    middle of one. The end of an epoch has the validation values of the curves.

    Args:
        callbacks: The user's callbacks.
        model: The model, compiled.
        recorder: The recorder of steps and curves, an earlier callback.
        epochs: Epochs of the run.
        steps_per_epoch: Steps of an epoch.
        state: State of the next checkpoints: a run that a callback ended stays ended
            when it is resumed.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        model: keras.Model,
        recorder: CurveRecorder,
        epochs: int,
        steps_per_epoch: int,
        state: dict[str, Any],
    ) -> None:
        super().__init__()
        self._recorder = recorder
        self._steps_per_epoch = steps_per_epoch
        self._state = state
        self._first_batch = 0
        self._has_begun = False
        self._last_logs: dict[str, Any] = {}
        self._callbacks = keras.callbacks.CallbackList(
            list(callbacks),
            model=model,
            epochs=epochs,
            steps=steps_per_epoch,
            verbose=0,
        )

    @property
    def has_stopped(self) -> bool:
        """Whether a callback ended training, now or before the run was resumed."""
        return bool(self._state.get("stopped_by_callback"))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if not self._has_begun:  # Keras calls it in every epoch
            self._has_begun = True
            self._callbacks.on_train_begin(logs)

    def end(self) -> bool:
        """End training; return whether a callback could put other weights back."""
        if self._has_begun:
            self._callbacks.on_train_end(self._last_logs)
        return self._has_begun and bool(self._callbacks.callbacks)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._first_batch = self._recorder.step - epoch * self._steps_per_epoch
        self._callbacks.on_epoch_begin(epoch, logs)

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._callbacks.on_train_batch_begin(self._first_batch + batch, logs)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        with self._noting_stops():
            self._callbacks.on_train_batch_end(self._first_batch + batch, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._last_logs = {**(logs or {}), **self._validation_logs()}
        with self._noting_stops():
            self._callbacks.on_epoch_end(epoch, self._last_logs)

    @contextmanager
    def _noting_stops(self) -> Iterator[None]:
        was_stopped = self.model.stop_training
        yield
        if self.model.stop_training and not was_stopped:
            self._state["stopped_by_callback"] = True

    def _validation_logs(self) -> dict[str, float]:
        """Return the validation values of this step, on every worker."""
        values = [np.nan, np.nan, np.nan]
        for point in self._recorder.points[-1:]:
            if point.split == "validation" and point.step == self._recorder.step:
                values = [point.loss, point.accuracy, point.auc]
        # The chief alone measures; bits travel exactly.
        values = [_of_chief(self.model.distribute_strategy, value) for value in values]
        names = "val_loss", "val_accuracy", "val_auc"
        return {} if np.isnan(values[0]) else dict(zip(names, values, strict=True))


def _of_chief(devices: tf.distribute.Strategy, value: float) -> float:
    bits = int(np.float64(value).view(np.int64))
    return float(np.int64(of_all_workers(devices, bits)[0]).view(np.float64))


def checked_callbacks(callbacks: Iterable[Any]) -> list[keras.callbacks.Callback]:
    """Return a list of callbacks.

    Raises:
        InputError: If it is none.
    """
    if isinstance(callbacks, keras.callbacks.Callback):
        raise InputError("callbacks is one callback, expected a list of them")
    callbacks = list(callbacks)
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise InputError(
                f"callbacks holds {callback!r}, expected instances of "
                f"keras.callbacks.Callback{_hint(callback)}"
            )
    return callbacks


def _hint(callback: object) -> str:
    """Return what to do about a callback of Keras 2, as `tf.keras` may be."""
    modules = {parent.__module__.partition(".")[0] for parent in type(callback).__mro__}
    if "tf_keras" not in modules:
        return ""
    return "; it is one of Keras 2: run without TF_USE_LEGACY_KERAS"
