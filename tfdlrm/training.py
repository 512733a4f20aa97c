"""Fitting a DLRM and writing down how it learned."""

import json
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


def compile_model(model: keras.Model, config: OptimizerConfig) -> None:
    """Give `model` its optimizer, loss and the metrics of the curves."""
    optimizer_class = {"sgd": optimizers.SGD, "adagrad": optimizers.Adagrad}
    model.compile(
        optimizer=optimizer_class[config.name](learning_rate=config.learning_rate),
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
        every: Steps between two points.
        total_steps: Steps of the whole training; the last one always has a point.
        validation: Batches of validation rows, or `None`.
    """

    def __init__(
        self,
        run: RunDirectory,
        every: int,
        total_steps: int,
        validation: tf.data.Dataset | None,
    ) -> None:
        super().__init__()
        self.points: list[CurvePoint] = []
        self._run = run
        self._every = every
        self._total_steps = total_steps
        self._validation = validation
        self._step = 0
        self._writers = {
            split: tf.summary.create_file_writer(str(run.path / "events" / split))
            for split in ("train", "validation")
        }

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._start = time.perf_counter()
        self._score = probabilities_of(self.model)

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        # Not right after a point, so that the progress bar ends on its values.
        if self.points and self.points[-1].step == self._step:
            self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._step += 1
        if self._step % self._every and self._step != self._total_steps:
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

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
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


def fit(
    model: keras.Model,
    train: tf.data.Dataset,
    validation: tf.data.Dataset | None,
    epochs: int,
    evaluations_per_epoch: int,
    run: RunDirectory,
) -> list[CurvePoint]:
    """Train a compiled model and return its learning curves.

    Args:
        model: The model.
        train: Shuffled batches of known number.
        validation: Batches to watch, or `None`.
        epochs: Passes over `train`.
        evaluations_per_epoch: Points of the curves in an epoch.
        run: Where the curves go.
    """
    steps = int(train.cardinality())
    recorder = CurveRecorder(
        run,
        every=max(1, steps // evaluations_per_epoch),
        total_steps=steps * epochs,
        validation=validation,
    )
    # A bar that redraws itself is for a terminal; a log gets one line an epoch.
    verbose = 1 if sys.stdout.isatty() else 2
    model.fit(
        train, epochs=epochs, callbacks=[recorder], verbose=verbose, shuffle=False
    )
    return recorder.points
