"""Weights, optimizer state and progress on disk: whole or not there at all."""

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfdlrm.errors import InputError

STATE_FILE = "state.json"
_PREFIX = "variables"


class CheckpointDirectory:
    """The checkpoints of one run, each a directory `step-N`.

    Args:
        path: The directory; it need not exist.
        keep: How many of the newest to keep.
    """

    def __init__(self, path: Path, keep: int = 1) -> None:
        self.path = path
        self._keep = keep

    def newest_first(self) -> list[Path]:
        """The directories of the checkpoints."""
        return sorted(self.path.glob("step-*"), reverse=True)

    def save(self, model: keras.Model, step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint aside, give it its name, and remove those too old.

        Args:
            model: A compiled model.
            step: Training steps done.
            state: What else is to be restored, as JSON has it.

        Raises:
            OSError: If the disk refuses; the checkpoints before are untouched.
        """
        target = self.path / f"step-{step:010d}"
        aside = target.with_name(f".{target.name}.partial")
        shutil.rmtree(aside, ignore_errors=True)
        try:
            aside.mkdir(parents=True)
            _everything(model).write(str(aside / _PREFIX))
            (aside / STATE_FILE).write_text(json.dumps(state), encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)
            aside.replace(target)
        except tf.errors.OpError as error:
            raise OSError(error.message) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        for old in self.newest_first()[self._keep :]:
            shutil.rmtree(old)

    def restore(self, model: keras.Model) -> dict[str, Any] | None:
        """Read the newest checkpoint that is whole into `model`.

        A damaged one is passed over, with a line that says so.

        Args:
            model: A compiled model of the same architecture.

        Returns:
            The state that was saved with it; `None` if there is no checkpoint at all.

        Raises:
            InputError: If all of them are damaged.
        """
        model.optimizer.build(model.trainable_variables)
        damaged = self.newest_first()
        for path in damaged:
            try:
                return _read(model, path)
            except (OSError, ValueError, AssertionError, tf.errors.OpError) as error:
                reason = str(error).partition("\n")[0]
                print(f"{path} is damaged ({reason}): trying the one before")
        if damaged:
            raise InputError(
                f"none of the checkpoints in {self.path} can be read: remove them to "
                "train from the start"
            )
        return None

    def load_weights(self, model: keras.Model) -> None:
        """Read the weights of the newest checkpoint into a model for predictions.

        Raises:
            InputError: If there is no checkpoint, or it cannot be read.
        """
        paths = self.newest_first()
        if not paths:
            raise InputError(f"{self.path} holds no checkpoint: did the training run?")
        checkpoint = tf.train.Checkpoint(variables=_in_order(model.variables))
        try:
            status = checkpoint.read(str(paths[0] / _PREFIX))
            status.assert_existing_objects_matched().expect_partial()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"{paths[0]} cannot be read ({reason}): expected a checkpoint of this "
                "model"
            ) from None


def _read(model: keras.Model, path: Path) -> dict[str, Any]:
    state = json.loads((path / STATE_FILE).read_text(encoding="utf-8"))
    status = _everything(model).read(str(path / _PREFIX))
    status.assert_consumed()
    return dict(state)


def _everything(model: keras.Model) -> tf.train.Checkpoint:
    return tf.train.Checkpoint(
        variables=_in_order(model.variables),
        optimizer=_in_order(model.optimizer.variables),
    )


def _in_order(variables: list[keras.Variable]) -> dict[str, tf.Variable]:
    # By position: their names are counted on through a process. And not as a model,
    # since TensorFlow's checkpoints do not look into the lists of layers that a Keras
    # layer holds, and would leave out what is in them without a word.
    return {str(i): variable.value for i, variable in enumerate(variables)}
