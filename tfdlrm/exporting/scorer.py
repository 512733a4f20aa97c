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
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.meaning_differences import differences, summarize
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.vocabulary_contents import example_of_difference, with_contents
from tfdlrm.exporting.checks import PADDING_ID
from tfdlrm.exporting.manifest import check_version, unchecked
from tfdlrm.exporting.versions import EXTRA_DIRECTORY, newest_whole

MAX_PADDED_IDS = 2**22
"""A padded batch of more ids is scored in parts, so that one long bag takes no memory
for all rows."""


@dataclass(frozen=True)
class Scorer:
    """A loaded SavedModel.

    Args:
        path: Directory of the version.
        schema: Columns and transforms that it was trained with.
        module: The module that TensorFlow loaded.
    """

    path: Path
    schema: FeatureSchema
    module: Any

    def __call__(self, features: dict[str, Any]) -> tf.Tensor:
        """Return click probabilities `(batch, 1)` of a batch as in `tfdlrm.data`."""
        return score(self.module.signatures["serving_default"], self.schema, features)

    @property
    def device(self) -> str:
        """Description of the device that it scores on."""
        return holding_device(*self.module.signatures["serving_default"].variables)

    @property
    def extra_directory(self) -> Path:
        """Local directory of the schema and the vocabularies."""
        return local_copies.local_copy(self.path / EXTRA_DIRECTORY)


def score(
    serving_default: Callable[..., Any],
    schema: FeatureSchema,
    features: dict[str, Any],
) -> tf.Tensor:
    """Return click probabilities of a batch by a function that clients call.

    Args:
        serving_default: A function with the inputs of that signature.
        schema: The columns.
        features: A batch as in `tfdlrm.data`.

    Returns:
        Tensor of shape `(batch, 1)`.
    """
    dense, ids = features["dense_features"], features["categorical_features"]
    if isinstance(ids, tf.RaggedTensor):
        middle = len(dense) // 2
        if middle and tf.reduce_prod(ids.bounding_shape()) > MAX_PADDED_IDS:
            parts = [
                {"dense_features": dense[half], "categorical_features": ids[half]}
                for half in (slice(None, middle), slice(middle, None))
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
        path: Directory of a version, or the directory of versions for the newest.

    Raises:
        InputError: If there is no such model, a file of it is damaged, or it does not
            fit into a GPU.
    """
    version = newest_whole(storage.at(path))
    if version is None:
        raise InputError(
            f"{path} holds no SavedModel: expected a directory such as "
            "saved_models/dlrm/1, written by tfdlrm.train or tfdlrm.export"
        )
    path = version
    if not check_version(path):
        print(unchecked(path), file=sys.stderr)
    schema = FeatureSchema.load(path / EXTRA_DIRECTORY)
    with local_copies.literal(path) as literal_path:
        return Scorer(path, schema, _load(path, str(literal_path)))


def _load(path: Path, literal_path: str) -> Any:
    try:
        return tf.saved_model.load(literal_path)
    except (tf.errors.ResourceExhaustedError, tf.errors.InternalError) as error:
        if "GPU" not in error.message:
            raise
        raise InputError(
            f"{path} does not fit into what is free of the GPU's memory: leave "
            "--device out to compute on the CPU"
        ) from error


def check_columns(
    model_schema: FeatureSchema, data_schema: FeatureSchema, model: Path, data_dir: Path
) -> None:
    """Refuse rows whose ids, numbers or labels mean something else to a model.

    Args:
        model_schema: Schema of the model.
        data_schema: Schema of the rows.
        model: Directory of the model's version.
        data_dir: Directory of the rows.

    Raises:
        InputError: If the columns, or what their ids or the label mean, differ.
    """
    extra = model / EXTRA_DIRECTORY
    model_schema = with_contents(model_schema, extra)
    data_schema = with_contents(data_schema, data_dir)
    model_meaning, data_meaning = Meaning.of(model_schema), Meaning.of(data_schema)
    reasons = differences(model_meaning, data_meaning)
    if reasons:
        example = example_of_difference((model_schema, extra), (data_schema, data_dir))
        reason = f"{summarize(reasons)}; {example}" if example else summarize(reasons)
        raise InputError(
            f"{data_dir} has other columns, ids or labels than {model} was trained "
            f"with: {reason}; use the data set of its training, or one with the "
            "same vocabularies and label; python -m tfdlrm.evaluate --raw measures a "
            "log by the model's own vocabularies"
        )
    for name, meaning in ((model, model_meaning), (data_dir, data_meaning)):
        if not meaning.is_known:
            print(
                f"{name} has no vocabularies: whether its ids mean the same values as "
                f"those of {data_dir if name == model else model} is not checked"
            )
            return
