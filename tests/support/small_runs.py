"""Short runs of a small model, whole or killed."""

from contextlib import contextmanager

import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.config import CheckpointConfig, OptimizerConfig, TrainConfig
from tfdlrm.data.reading import without_tuning
from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.models import DLRM
from tfdlrm.training.compiling import compile_model
from tfdlrm.training.curves import CurveRecorder
from tfdlrm.training.fit import fit, make_reproducible
from tfdlrm.training.run_directory import RunDirectory

STEPS_PER_EPOCH = 9
BATCH_SIZE = 16


class KilledError(Exception):
    """Raised in the middle of training, in place of a kill."""


def small_model(optimizer="adagrad", steps_per_execution=1, normalization=None):
    model = DLRM(
        embeddings=EmbeddingCollection([50, 20], embedding_dim=4),
        bottom_mlp=MLP([8, 4], final_activation="relu", normalization=normalization),
        interaction=DotInteraction(),
        top_mlp=MLP([8, 1], dropout=0.2, normalization=normalization),
    )
    model.build({"dense_features": (None, 3), "categorical_features": (None, 2)})
    compile_model(model, optimizer_config(optimizer), steps_per_execution)
    return model


def optimizer_config(optimizer):
    """Return the settings of an optimizer, which may be given by its name."""
    if isinstance(optimizer, OptimizerConfig):
        return optimizer
    return OptimizerConfig(optimizer, 0.05)


def read(epoch, batch):
    rng = np.random.default_rng(epoch)
    num_rows = STEPS_PER_EPOCH * BATCH_SIZE
    dense = rng.random((num_rows, 3), np.float32)
    ids = np.stack([rng.integers(0, 50, num_rows), rng.integers(0, 20, num_rows)], 1)
    label = (rng.random((num_rows, 1)) < 0.3).astype(np.float32)
    rows = ({"dense_features": dense, "categorical_features": ids}, label)
    batches = tf.data.Dataset.from_tensor_slices(rows).batch(BATCH_SIZE).skip(batch)
    # A killed run throws its iterator away, which would wait for a tuner.
    return batches.with_options(without_tuning())


def config_for(directory, optimizer="adagrad", epochs=2, **settings):
    return TrainConfig(
        run_dir=directory,
        epochs=epochs,
        optimizer=optimizer_config(optimizer),
        evaluations_per_epoch=2,
        checkpoints=CheckpointConfig(minutes=None, steps=2),
        **settings,
    )


def train(
    directory, optimizer="adagrad", read=read, data_set="a", callbacks=(), **settings
):
    """Train, or resume a killed run, and return the weights and curves."""
    config = config_for(directory, optimizer, **settings)
    make_reproducible(seed=1)
    model = small_model(optimizer, config.steps_per_execution)
    with RunDirectory.opened(config) as run:
        points = fit(
            *(model, read, STEPS_PER_EPOCH, read(7, 0), config, run, data_set),
            callbacks=callbacks,
        )
    weights = [weight.numpy() for weight in model.variables + model.optimizer.variables]
    curves = [(point.step, point.split, point.loss, point.auc) for point in points]
    return weights, curves


@contextmanager
def dying_at_step(at_step):
    """Let a run die at the end of a step, before its checkpoint is written."""
    take_a_point = CurveRecorder.on_train_batch_end

    def die(self, batch, logs=None):
        take_a_point(self, batch, logs)
        if self.step >= at_step:
            raise KilledError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(CurveRecorder, "on_train_batch_end", die)
        yield


def train_until_killed(directory, at_step, optimizer="adagrad", **settings):
    """Train until the end of a step, whose checkpoint is not written any more."""
    with dying_at_step(at_step):
        train(directory, optimizer, **settings)


def assert_equal(arrays, expected_arrays):
    for array, expected in zip(arrays, expected_arrays, strict=True):
        np.testing.assert_array_equal(array, expected)


def newest(directory):
    return CheckpointDirectory(directory / "checkpoints").newest_first()[0]
