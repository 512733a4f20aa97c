"""Fitting a DLRM and writing down how it learned."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfdlrm import optimizers
from tfdlrm.config import OptimizerConfig
from tfdlrm.data import read_split
from tfdlrm.evaluation import EVALUATION_BATCH_SIZE, evaluate
from tfdlrm.run_directory import RunDirectory
from tfdlrm.schema import FeatureSchema

CURVE_VALIDATION_ROWS = 200_000
"""Validation rows behind a point of the curves; the final measures use all of them."""


@dataclass(frozen=True)
class CurvePoint:
    """One point of the learning curves.

    Args:
        step: Training steps done.
        split: `train` or `validation`.
        loss: Mean log loss: of the training rows since the point before, or of the
            validation rows.
        accuracy: Likewise.
        auc: Likewise; for training rows from 200 bins, for validation rows exact.
        seconds: Since training began, validation included.
    """

    step: int
    split: str
    loss: float
    accuracy: float
    auc: float
    seconds: float


_OPTIMIZERS = {
    "sgd": optimizers.SGD,
    "adagrad": optimizers.Adagrad,
    "row_wise_adagrad": optimizers.RowWiseAdagrad,
    "lazy_adam": optimizers.LazyAdam,
}


def compile_model(model: keras.Model, config: OptimizerConfig) -> None:
    """Give `model` its optimizer, loss and the metrics of the curves."""
    model.compile(
        optimizer=_OPTIMIZERS[config.name](learning_rate=config.learning_rate),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[
            keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0),
            keras.metrics.AUC(name="auc", from_logits=True),
        ],
    )


def curve_rows(data_dir: Path, schema: FeatureSchema) -> tf.data.Dataset | None:
    """The validation rows that the curves look at, or `None` if there are none."""
    if not schema.num_rows("validation"):
        return None
    batches = read_split(data_dir, schema, "validation", EVALUATION_BATCH_SIZE)
    return batches.take(-(-CURVE_VALIDATION_ROWS // EVALUATION_BATCH_SIZE)).cache()


def probabilities_of(model: keras.Model) -> Callable[[dict[str, Any]], tf.Tensor]:
    """The function from features to click probabilities, compiled."""
    return tf.function(
        lambda features: tf.sigmoid(model(features, training=False)),
        reduce_retracing=True,
    )


class CurveRecorder(keras.callbacks.Callback):
    """Takes a point of the training and validation curves every so many steps.

    Args:
        run: Where `metrics.jsonl` and the TensorBoard events go.
        score: From features to probabilities, by the weights of the moment.
        every: Steps between two points.
        steps_per_epoch: Steps of an epoch; the last one always has a point.
        validation: Batches of validation rows, or `None`.
    """

    def __init__(
        self,
        run: RunDirectory,
        score: Callable[[dict[str, Any]], tf.Tensor],
        every: int,
        steps_per_epoch: int,
        validation: tf.data.Dataset | None,
    ) -> None:
        super().__init__()
        self.points: list[CurvePoint] = []
        self._run = run
        self._every = every
        self._steps_per_epoch = steps_per_epoch
        self._score = score
        self._start = time.perf_counter()
        self._validation = validation
        self._step = 0
        self._writers = {
            split: tf.summary.create_file_writer(str(run.path / "events" / split))
            for split in ("train", "validation")
        }

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        # Not right after a point, so that the progress bar ends on its values.
        if self.points and self.points[-1].step == self._step:
            self.model.reset_metrics()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._step += 1
        if (batch + 1) % self._every and batch + 1 != self._steps_per_epoch:
            return
        logs = logs or {}
        values = {name: float(logs[name]) for name in ("loss", "accuracy", "auc")}
        self._record("train", values)
        if self._validation is not None:
            metrics = evaluate(self._score, self._validation)
            self._record(
                "validation",
                {
                    "loss": metrics.log_loss,
                    "accuracy": metrics.accuracy,
                    "auc": metrics.auc,
                },
            )

    def close(self) -> None:
        """Finish the TensorBoard events."""
        for writer in self._writers.values():
            writer.close()

    def _record(self, split: str, values: dict[str, float]) -> None:
        seconds = round(time.perf_counter() - self._start, 3)
        point = CurvePoint(self._step, split, **values, seconds=seconds)
        self.points.append(point)
        with self._run.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(point)) + "\n")
        with self._writers[split].as_default(step=self._step):
            for name, value in values.items():
                tf.summary.scalar(name, value)


def _start_xla_quietly() -> None:
    """Let XLA, which training uses, say at its start what no log level stops."""
    stderr = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            tf.function(lambda: tf.constant(0) + 1, jit_compile=True)()
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def fit(
    model: keras.Model,
    epoch_batches: Callable[[int], tf.data.Dataset],
    validation: tf.data.Dataset | None,
    epochs: int,
    evaluations_per_epoch: int,
    run: RunDirectory,
) -> list[CurvePoint]:
    """Train a compiled model and return its learning curves.

    Args:
        model: The model.
        epoch_batches: From the number of an epoch to its batches.
        validation: Batches to watch, or `None`.
        epochs: Number of epochs.
        evaluations_per_epoch: Points of the curves in an epoch.
        run: Where the curves go.
    """
    _start_xla_quietly()
    steps = int(epoch_batches(0).cardinality())
    recorder = CurveRecorder(
        run,
        score=probabilities_of(model),
        every=-(-steps // evaluations_per_epoch),
        steps_per_epoch=steps,
        validation=validation,
    )
    for epoch in range(epochs):
        # An epoch a call: the order of its rows follows from its number, however often
        # Keras starts to read them.
        model.fit(
            epoch_batches(epoch),
            initial_epoch=epoch,
            epochs=epoch + 1,
            callbacks=[recorder],
            # A bar that redraws itself is for a terminal; a log gets one line an epoch.
            verbose=1 if sys.stdout.isatty() else 2,
            shuffle=False,
        )
    recorder.close()
    return recorder.points
