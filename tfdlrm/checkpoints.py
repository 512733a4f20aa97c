"""Weights and optimizer state on disk."""

from pathlib import Path

import keras
import tensorflow as tf

from tfdlrm.errors import InputError


def save_weights(model: keras.Model, prefix: Path) -> None:
    """Write the weights of a compiled model and its optimizer's state.

    Args:
        model: The model.
        prefix: What the names of the files begin with.
    """
    checkpoint = tf.train.Checkpoint(
        weights=_by_path(model.weights),
        optimizer=_by_path(model.optimizer.variables),
    )
    checkpoint.write(str(prefix))


def load_weights(model: keras.Model, prefix: Path) -> None:
    """Read the weights into a model of the same architecture.

    Raises:
        InputError: If there is no checkpoint.
    """
    if not Path(f"{prefix}.index").is_file():
        raise InputError(f"{prefix} is no checkpoint: did the training finish?")
    checkpoint = tf.train.Checkpoint(weights=_by_path(model.weights))
    status = checkpoint.read(str(prefix))
    status.assert_existing_objects_matched().expect_partial()


def _by_path(variables: list[keras.Variable]) -> dict[str, tf.Variable]:
    # TensorFlow's checkpoints do not look into the lists of layers that a Keras layer
    # holds, and would leave out what is in them without a word.
    return {variable.path: variable.value for variable in variables}
