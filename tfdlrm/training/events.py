"""What TensorBoard shows of a run: curves, settings, weights, measures, pictures."""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.metrics.binary import BinaryMetrics
from tfdlrm.training.curves import CurveRecorder
from tfdlrm.training.run_directory import RunDirectory
from tfdlrm.training.run_settings import flat_settings

MOST_VALUES = 2**20
"""Values of a weight in its histogram; of more rows, evenly spaced ones are taken."""

_NO_HYPERPARAMETERS = (
    "allow_",
    "data_dir",
    "raw",
    "prepare.",
    "checkpoints.",
    "profile_steps",
    "weight_histograms",
    "init_from",
    "run_dir",
    "export_dir",
)
"""Settings, or their beginnings, that say nothing about what is learned."""


def write_hyperparameters(run: RunDirectory, settings: Mapping[str, Any]) -> None:
    """Write the settings of a run for TensorBoard's page of hyperparameters.

    Args:
        run: The run.
        settings: The settings as plain values.
    """
    from tensorboard.plugins.hparams import api

    values = {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in flat_settings(dict(settings))
        if value is not None and not name.startswith(_NO_HYPERPARAMETERS)
    }
    summary = api.hparams_pb(values, trial_id=str(run.home))
    directory = run.events_directory
    with _to_disk(directory), _written_to(directory):
        tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step=0)


def write_results(
    directory: Path,
    step: int,
    metrics: Mapping[str, BinaryMetrics],
    pictures: Sequence[Path],
) -> None:
    """Write the final measures and the pictures of a report.

    Args:
        directory: The run's directory of events.
        step: The training step whose weights are kept.
        metrics: Final measures of each split.
        pictures: Files in PNG.
    """
    with _to_disk(directory), _written_to(directory):
        for split, values in metrics.items():
            for name in ("auc", "log_loss", "accuracy"):
                value = getattr(values, name)
                if math.isfinite(value):  # an AUC may be undefined
                    tf.summary.scalar(f"{split}/{name}", value, step)
        for path in pictures:
            _write_picture(path, step)


def _write_picture(path: Path, step: int) -> None:
    """Write a PNG as it is; `tf.summary.image` would decode and compress it again."""
    from tensorboard.plugins.image.metadata import create_summary_metadata

    contents = path.read_bytes()
    sides = struct.unpack(">II", contents[16:24])  # of the header, which comes first
    tf.summary.write(
        path.stem,
        tf.constant([*(str(side).encode() for side in sides), contents]),
        step,
        metadata=create_summary_metadata(path.stem, "", converted_to_tensor=False),
    )


@contextmanager
def _written_to(directory: Path) -> Iterator[None]:
    """Write the summaries of the block to a new file."""
    writer = tf.summary.create_file_writer(str(directory))
    with writer.as_default():
        yield
    writer.close()


@contextmanager
def _to_disk(directory: Path) -> Iterator[None]:
    """Print a line if the disk refuses, which does not stop the run."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        print(f"events for TensorBoard are not in {directory}: {error}")


class WeightHistograms(keras.callbacks.Callback):
    """Writes histograms of all weights at each point of the curves.

    They stay when a run is resumed, unlike other events, which come from the curves.

    Args:
        run: The run.
        recorder: Takes the points; Keras must call it before this callback.
        variables: The variables of the model.
    """

    def __init__(
        self, run: RunDirectory, recorder: CurveRecorder, variables: SavedVariables
    ) -> None:
        super().__init__()
        self._directory = run.weight_events_directory
        self._recorder = recorder
        self._variables = variables
        self._writer: Any = None

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        points = self._recorder.points
        if not points or points[-1].step != self._recorder.step:
            return
        with _to_disk(self._directory):
            if self._writer is None:
                self._writer = tf.summary.create_file_writer(str(self._directory))
            with self._writer.as_default(self._recorder.step):
                self._write()
            self._writer.flush()

    def _write(self) -> None:
        written: set[str] = set()
        for weight in self.model.trainable_variables:
            variable = self._variables.holder_of(weight)
            if variable.name not in written:  # all shards of a table are one
                tf.summary.histogram(weight.path, _some_values(variable))
                written.add(variable.name)


def _some_values(variable: Any) -> np.ndarray:
    """Return the values of a weight, or those of evenly spaced rows if it is large."""
    size = int(np.prod(variable.shape))
    if size <= MOST_VALUES:
        return variable.whole().values
    num_rows = variable.shape[0]
    step = -(-size // MOST_VALUES)
    return variable.read(np.arange(0, num_rows, min(step, num_rows)))
