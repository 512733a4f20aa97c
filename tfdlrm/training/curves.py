"""The learning curves of a run: recorded while it trains, kept in its directory."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import orjson
import tensorflow as tf

from tfdlrm.base import storage
from tfdlrm.config.early_stopping import Measure
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.metrics.binary import BinaryMetrics
from tfdlrm.metrics.splits import EVALUATION_BATCH_SIZE
from tfdlrm.planning.memory_plan import CURVE_VALIDATION_ROWS
from tfdlrm.training.run_directory import RunDirectory

_MEASURES = ("loss", "accuracy", "auc")


@dataclass(frozen=True)
class CurvePoint:
    """One point of the learning curves.

    Args:
        step: Training steps done.
        split: `train` or `validation`.
        loss: Mean log loss of the training rows since the previous point, or of the
            validation rows.
        accuracy: Accuracy on the same rows.
        auc: AUC on the same rows; from 200 bins for training rows, exact for
            validation rows; NaN if their labels are all alike.
        seconds: Seconds since training began, validation included.
        learning_rate: Learning rate of the next training step, with the training rows;
            `None` with validation rows, and in runs of earlier releases.
    """

    step: int
    split: str
    loss: float
    accuracy: float
    auc: float
    seconds: float
    learning_rate: float | None = None

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "CurvePoint":
        """Read a point of `metrics.jsonl` or of a checkpoint."""
        undefined = {name: math.nan for name in _MEASURES if fields[name] is None}
        return cls(**{**fields, **undefined})

    def cost(self, measure: Measure) -> float:
        """Return a measure of the point such that the lowest is the best."""
        return self.loss if measure == "log_loss" else -self.auc


def validation_points(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Return the points of the validation rows."""
    return [point for point in points if point.split == "validation"]


def curve_rows(data_dir: Path, schema: FeatureSchema) -> tf.data.Dataset | None:
    """Return the validation rows of the curves, or `None` if there are none."""
    if not schema.num_rows("validation"):
        return None
    batches = read_split(data_dir, schema, "validation", EVALUATION_BATCH_SIZE)
    return batches.take(-(-CURVE_VALIDATION_ROWS // EVALUATION_BATCH_SIZE)).cache()


def learning_rate_of(optimizer: keras.optimizers.Optimizer) -> float:
    """Return the present learning rate, with the digits that a float32 has."""
    # Under a strategy it may be a variable with copies on devices.
    rate = float(tf.convert_to_tensor(optimizer.learning_rate))
    return float(f"{rate:.7g}")


class CurveRecorder(keras.callbacks.Callback):
    """Callback that adds a point to the curves every so many steps.

    Args:
        run: The run, for `metrics.jsonl` and the TensorBoard events.
        every: Steps between two points.
        steps_per_epoch: Steps of an epoch; the last one always has a point.
        validate: Measures the validation rows with the present weights; `None` without
            such rows.
        follow: Takes the curves with a new validation point, before the learning rate
            of the next step is recorded.
        points: Points of an interrupted run; the files are written again with them.
        step: Training steps done before.
        seconds: Seconds of training before.
    """

    def __init__(
        self,
        run: RunDirectory,
        every: int,
        steps_per_epoch: int,
        validate: Callable[[], BinaryMetrics] | None,
        follow: Callable[[Sequence[CurvePoint]], None] | None = None,
        points: Sequence[CurvePoint] = (),
        step: int = 0,
        seconds: float = 0.0,
    ) -> None:
        super().__init__()
        self.points = list(points)
        self.step = step
        self._run = run
        self._every = every
        self._steps_per_epoch = steps_per_epoch
        self._start = time.perf_counter() - seconds
        self._validate = validate
        self._follow = follow
        self._first_step = step
        run.clear_curves()
        self._writers = {
            split: tf.summary.create_file_writer(str(run.events_directory / split))
            for split in ("train", "validation")
        }
        self._write(self.points)

    @property
    def seconds(self) -> float:
        """Seconds since training began."""
        return round(time.perf_counter() - self._start, 3)

    def step_at(self, batch: int) -> int:
        """Return the steps done at the end of a batch, as Keras numbers batches."""
        # An execution may be several steps; the last one of an epoch may be shorter,
        # which Keras does not count.
        start = self._first_step // self._steps_per_epoch * self._steps_per_epoch
        return min(self._first_step + batch + 1, start + self._steps_per_epoch)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._first_step = self.step  # from which Keras counts

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        # Not right after a point, so that the progress bar ends with its values.
        if self.points and self.points[-1].step == self.step:
            self.model.reset_metrics()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        start = self._first_step // self._steps_per_epoch * self._steps_per_epoch
        end = start + self._steps_per_epoch
        previous_step, self.step = self.step, self.step_at(batch)
        num_due = (self.step - start) // self._every
        num_due -= (previous_step - start) // self._every
        if num_due or self.step == end:
            self._add_points(logs or {})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # A callback of the user may have ended it between two points.
        if not self.points or self.points[-1].step != self.step:
            self._add_points(logs or {})

    def _add_points(self, logs: Mapping[str, Any]) -> None:
        """Add the points of this step."""
        loss, accuracy, auc = (float(logs[name]) for name in _MEASURES)
        if auc == 0 and _labels_are_alike(self.model):
            auc = math.nan  # Keras returns 0
        train = CurvePoint(self.step, "train", loss, accuracy, auc, self.seconds)
        validation = self._validation_points()
        if self._follow is not None:
            self._follow([*self.points, *validation])
        rate = learning_rate_of(self.model.optimizer)
        for point in (replace(train, learning_rate=rate), *validation):
            self.points.append(point)
            self._write([point])

    def _validation_points(self) -> list[CurvePoint]:
        """Measure the validation rows, if there are any here."""
        if self._validate is None:
            return []
        metrics = self._validate()
        measures = metrics.log_loss, metrics.accuracy, metrics.auc
        return [CurvePoint(self.step, "validation", *measures, self.seconds)]

    def close(self) -> None:
        """Finish the TensorBoard events."""
        for writer in self._writers.values():
            writer.close()

    def _write(self, new: Sequence[CurvePoint]) -> None:
        """Write all points to the curves, and the new ones to TensorBoard.

        A disk that refuses does not stop a long run: the next point writes all again.
        """
        lines = [f"{orjson.dumps(point).decode()}\n" for point in self.points]
        try:
            storage.replace_text(self._run.metrics_file, "".join(lines))
            for point in new:
                with self._writers[point.split].as_default(step=point.step):
                    for name in (*_MEASURES, "learning_rate"):
                        value = getattr(point, name)
                        if value is not None and not math.isnan(value):
                            tf.summary.scalar(name, value)
        except (OSError, tf.errors.OpError) as error:
            print(f"\nthe curves of step {self.step:,} are not on disk: {error}")


def _labels_are_alike(model: keras.Model) -> bool:
    """Whether the training rows since the last point have one label."""
    metrics = [metric for group in model.metrics for metric in _parts_of(group)]
    counts = next(item for item in metrics if isinstance(item, keras.metrics.AUC))
    copies_of = model.distribute_strategy.experimental_local_results

    def rows(variable: keras.Variable) -> float:
        return sum(float(copy[0]) for copy in copies_of(variable.value))

    num_positive = rows(counts.true_positives) + rows(counts.false_negatives)
    num_negative = rows(counts.false_positives) + rows(counts.true_negatives)
    return not (num_positive and num_negative)


def _parts_of(metric: keras.Metric) -> list[keras.Metric]:
    """Return the metrics of those that are compiled together."""
    return getattr(metric, "metrics", None) or [metric]
