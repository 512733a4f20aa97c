"""Callbacks of the user's own in a run, next to one `fit` of Keras."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.support.small_runs import (
    STEPS_PER_EPOCH,
    assert_equal,
    newest,
    read,
    small_model,
    train,
    train_until_killed,
)
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints import writer as checkpoint_writer
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.runs.training_run import run_training
from tfdlrm.training.fit import make_reproducible
from tfdlrm.training.own_callbacks import checked_callbacks


class Recorder(keras.callbacks.Callback):
    """Notes every call of a hook of training with its number and its logs."""

    def __init__(self):
        super().__init__()
        self.calls, self.logs = [], []

    def on_train_begin(self, logs=None):
        self.calls.append(("train begins", self.params["epochs"], self.params["steps"]))

    def on_train_end(self, logs=None):
        self.calls.append(("train ends",))

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(("epoch begins", epoch))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("epoch ends", epoch))
        self.logs.append(logs)

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(("batch begins", batch))

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(("batch ends", batch))


class KerasTwo:
    """A callback whose class says that it is of Keras 2."""

    __module__ = "tf_keras.src.callbacks"


class StopAt(keras.callbacks.Callback):
    """Ends training after a batch of the first epoch."""

    def __init__(self, batch):
        super().__init__()
        self._batch = batch

    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = batch == self._batch


def calls_of_keras(steps_per_execution=1):
    """Return the calls of one `fit` of Keras over two epochs."""
    make_reproducible(seed=1)
    recorder = Recorder()
    small_model(steps_per_execution=steps_per_execution).fit(
        read(0, 0), epochs=2, callbacks=[recorder], verbose=0, shuffle=False
    )
    return recorder.calls


@pytest.mark.slow_variants
@pytest.mark.parametrize("steps", [1, 2])
def test_a_callback_is_called_as_by_one_fit(steps, tmp_path):
    recorder = Recorder()
    train(tmp_path / "run", callbacks=[recorder], steps_per_execution=steps)
    assert recorder.calls == calls_of_keras(steps)


def test_the_end_of_an_epoch_has_the_point_of_the_curves(tmp_path):
    recorder = Recorder()
    _, curves = train(tmp_path / "run", callbacks=[recorder])
    ends = [
        (loss, auc)
        for step, split, loss, auc in curves
        if split == "validation" and step % STEPS_PER_EPOCH == 0
    ]
    assert [(logs["val_loss"], logs["val_auc"]) for logs in recorder.logs] == ends
    assert {"loss", "accuracy", "auc", "val_accuracy"} < set(recorder.logs[0])


@pytest.mark.slow
def test_a_callback_changes_no_number(tmp_path):
    weights, curves = train(tmp_path / "with", callbacks=[Recorder()])
    expected_weights, expected_curves = train(tmp_path / "without")
    assert_equal(weights, expected_weights)
    assert curves == expected_curves


@pytest.mark.slow
def test_a_resumed_run_calls_for_the_steps_that_remain(tmp_path):
    train_until_killed(tmp_path / "run", 5)  # after the checkpoint of step 4
    recorder = Recorder()
    train(tmp_path / "run", callbacks=[recorder])
    calls = calls_of_keras()
    start = calls.index(("batch begins", 4))
    assert recorder.calls == [*calls[:2], *calls[start:]]


def test_a_callback_can_stop_the_run_which_stays_ended(tmp_path):
    _, curves = train(tmp_path / "run", callbacks=[StopAt(3)])
    state = CheckpointDirectory(tmp_path / "run" / "checkpoints").newest_state()
    assert state["step"] == 4
    recorder = Recorder()
    _, curves_afterwards = train(tmp_path / "run", callbacks=[recorder])
    assert recorder.calls == []
    assert curves_afterwards == curves


def test_a_callback_sets_the_learning_rate(tmp_path):
    rates = []

    def rate(epoch, learning_rate):
        rates.append(round(float(learning_rate), 6))
        return learning_rate / 10

    schedule = keras.callbacks.LearningRateScheduler(rate)
    train(tmp_path / "run", callbacks=[schedule])
    assert rates == [0.05, 0.005]


@pytest.mark.slow_variants
@pytest.mark.parametrize("bytes_of_large_tables", [1_000, 1 << 28])
def test_weights_that_a_callback_puts_back_are_those_of_the_last_checkpoint(
    bytes_of_large_tables, tmp_path, monkeypatch
):
    monkeypatch.setattr(checkpoint_writer, "MAX_COPY_BYTES", bytes_of_large_tables)
    best = keras.callbacks.EarlyStopping(
        "val_loss", patience=1, restore_best_weights=True, baseline=None
    )
    settings = {"optimizer": "sgd", "epochs": 30}
    weights, _ = train(tmp_path / "run", callbacks=[best], **settings)
    assert best.stopped_epoch > 0
    model = small_model("sgd")
    CheckpointDirectory(newest(tmp_path / "run").parent).load_weights(model)
    assert_equal(
        [weight.numpy() for weight in model.variables], weights[: len(model.variables)]
    )
    for restored, kept in zip(model.get_weights(), best.best_weights, strict=True):
        np.testing.assert_array_equal(restored, kept)


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        ([print], "callbacks holds <built-in function print>, expected instances of"),
        ([Recorder], "expected instances of keras.callbacks.Callback"),
        (Recorder(), "callbacks is one callback, expected a list"),
        ([KerasTwo()], "it is one of Keras 2: run without TF_USE_LEGACY_KERAS"),
    ],
)
def test_what_is_no_callback_is_refused(callbacks, message):
    with pytest.raises(InputError, match=message):
        checked_callbacks(callbacks)


@pytest.mark.slow
def test_callbacks_are_called_under_mirrored(small_config, tmp_path):
    class Norms(keras.callbacks.Callback):
        """Reads weights and a value that all devices agree on."""

        def on_epoch_end(self, epoch, logs=None):
            self.logs = logs
            self.is_finite = all(
                np.isfinite(weight).all() for weight in self.model.get_weights()
            )

    recorder, norms = Recorder(), Norms()
    config = replace(
        small_config,
        strategy="mirrored",
        run_dir=tmp_path / "run",
        export_dir=tmp_path / "clicks",
    )
    run_training(config, [recorder, norms])
    assert recorder.calls.count(("epoch ends", 0)) == 1
    steps = sum(call[0] == "batch ends" for call in recorder.calls)
    assert recorder.calls[0] == ("train begins", 1, steps)
    assert norms.is_finite
    assert norms.logs["val_auc"] > 0
