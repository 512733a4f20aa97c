"""An exported model, loaded to score rows."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfdlrm.base import local_copies, storage
from tfdlrm.base.device_names import holding_device
from tfdlrm.base.errors import InputError
from tfdlrm.data.meaning import Meaning, differences, named
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.vocabulary_contents import example_of_difference, with_contents
from tfdlrm.exporting.checks import PADDING_ID
from tfdlrm.exporting.manifest import check_version, unchecked
from tfdlrm.exporting.versions import (
    EXTRA_DIRECTORY,
    is_whole,
    versions_in,
)

MAX_PADDED_IDS = 2**22
"""More places than that are scored in parts, so that one long bag costs no memory."""


@dataclass(frozen=True)
class Scorer:
    """A loaded SavedModel.

    Args:
        path: Its version directory.
        schema: Columns and transforms that it was trained with.
        module: What TensorFlow loaded.
    """

    path: Path
    schema: FeatureSchema
    module: Any

    def __call__(self, features: dict[str, Any]) -> tf.Tensor:
        """Click probabilities `(batch, 1)` of a batch as `tfdlrm.data` gives it."""
        return score(self.module.signatures["serving_default"], self.schema, features)

    @property
    def device(self) -> str:
        """What it scores on, in words."""
        return holding_device(*self.module.signatures["serving_default"].variables)

    @property
    def extra_directory(self) -> Path:
        """Where the schema and the vocabularies are, on this machine."""
        return local_copies.local_copy(self.path / EXTRA_DIRECTORY)


def score(
    serving_default: Callable[..., Any],
    schema: FeatureSchema,
    features: dict[str, Any],
) -> tf.Tensor:
    """Click probabilities of a batch by a function that takes what clients send.

    Args:
        serving_default: The function.
        schema: The columns.
        features: A batch as `tfdlrm.data` gives it.

    Returns:
        Tensor of shape `(batch, 1)`.
    """
    dense, ids = features["dense_features"], features["categorical_features"]
    if isinstance(ids, tf.RaggedTensor):
        middle = len(dense) // 2
        if middle and tf.reduce_prod(ids.bounding_shape()) > MAX_PADDED_IDS:
            halves = (slice(None, middle), slice(middle, None))
            parts = [
                {"dense_features": dense[h], "categorical_features": ids[h]}
                for h in halves
            ]
            scores = [score(serving_default, schema, part) for part in parts]
            return tf.concat(scores, axis=0)
        ids = ids.to_tensor(PADDING_ID)
    inputs = {}
    if schema.dense_features:
        inputs["dense_features"] = dense
    if schema.categorical_features:
        inputs["categorical_features"] = tf.cast(ids, tf.int64)
    return serving_default(**inputs)["probability"]


def load_scorer(path: Path) -> Scorer:
    """Load a SavedModel written by `export_model`.

    Args:
        path: A version's directory, or the directory of versions for the newest.

    Raises:
        InputError: If there is no such model there, a file of it is damaged, or it does
            not fit into a GPU.
    """
    path = storage.at(path)
    if not is_whole(path):
        whole = {v: each for v, each in versions_in(path).items() if is_whole(each)}
        if not whole:
            raise InputError(
                f"{path} holds no SavedModel: expected a directory such as "
                "saved_models/dlrm/1, written by tfdlrm.train or tfdlrm.export"
            )
        path = whole[max(whole)]
    if not check_version(path):
        print(unchecked(path), file=sys.stderr)
    schema = FeatureSchema.load(path / EXTRA_DIRECTORY)
    with local_copies.literal(path) as literal:
        return Scorer(path, schema, _loaded(path, str(literal)))


def _loaded(path: Path, literal: str) -> Any:
    try:
        return tf.saved_model.load(literal)
    except (tf.errors.ResourceExhaustedError, tf.errors.InternalError) as error:
        if "GPU" not in error.message:
            raise
        raise InputError(
            f"{path} does not fit into what is free of the GPU's memory: leave "
            "--device out to compute on the CPU"
        ) from error


def check_columns(
    trained: FeatureSchema, data: FeatureSchema, model: Path, data_dir: Path
) -> None:
    """Refuse rows whose ids, numbers or labels mean something else to a model.

    Args:
        trained: Schema of the model.
        data: Schema of the rows.
        model: Where the model is: the directory of its version.
        data_dir: Where the rows are.

    Raises:
        InputError: If the columns, or what their ids or the label mean, differ.
    """
    extra = model / EXTRA_DIRECTORY
    trained, data = with_contents(trained, extra), with_contents(data, data_dir)
    there, here = Meaning.of(trained), Meaning.of(data)
    found = differences(there, here)
    if found:
        example = example_of_difference((trained, extra), (data, data_dir))
        told = f"{named(found)}; {example}" if example else named(found)
        raise InputError(
            f"{data_dir} has other columns, ids or labels than {model} was trained "
            f"with: {told}; use the data set of its training, or one with the "
            "same vocabularies and label; python -m tfdlrm.predict scores raw rows by "
            "the model's own vocabularies"
        )
    for name, meaning in ((model, there), (data_dir, here)):
        if not meaning.is_known:
            print(
                f"{name} has no vocabularies: whether its ids mean the same values as "
                f"those of {data_dir if name == model else model} is not checked"
            )
            return
