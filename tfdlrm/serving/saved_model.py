"""A trained model as a SavedModel that TF Serving takes, and back as a function."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfdlrm import storage
from tfdlrm.errors import InputError
from tfdlrm.schema import FeatureSchema
from tfdlrm.serving.checks import PADDING_ID
from tfdlrm.serving.signatures import (
    RawSignatures,
    name_signatures,
    serving_function,
)
from tfdlrm.serving.version_directories import (
    is_whole,
    next_version,
    versions_in,
    written_aside,
)
from tfdlrm.serving.vocabulary_tables import has_vocabularies

EXTRA_DIRECTORY = "assets.extra"
"""TF Serving's place for files that travel with a model but are not in its graph."""

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
        dense, ids = features["dense_features"], features["categorical_features"]
        if isinstance(ids, tf.RaggedTensor):
            middle = len(dense) // 2
            if middle and tf.reduce_prod(ids.bounding_shape()) > MAX_PADDED_IDS:
                halves = (slice(None, middle), slice(middle, None))
                parts = [
                    {"dense_features": dense[h], "categorical_features": ids[h]}
                    for h in halves
                ]
                return tf.concat([self(part) for part in parts], axis=0)
            ids = ids.to_tensor(PADDING_ID)
        inputs = {}
        if self.schema.dense_features:
            inputs["dense_features"] = dense
        if self.schema.categorical_features:
            inputs["categorical_features"] = tf.cast(ids, tf.int64)
        return self.module.signatures["serving_default"](**inputs)["probability"]

    @property
    def extra_directory(self) -> Path:
        """Where the schema and the vocabularies are, on this machine."""
        return storage.local_copy(self.path / EXTRA_DIRECTORY)


def export_model(
    model: keras.Model, schema: FeatureSchema, data_dir: Path, export_dir: Path
) -> Path:
    """Write the next version of a model, complete or not at all.

    The signature `serving_default` takes `dense_features` (batch, n) float32 and
    `categorical_features` (batch, features) int64 and gives `probability` (batch, 1)
    float32. Where a feature is multi-hot, the ids are (batch, features, width), with
    `PADDING_ID` in the places that a bag does not fill; the width may differ from call
    to call. What a data set has none of is no input. The schema and the vocabularies go
    along, for raw rows.

    Args:
        model: A model from such features to logits.
        schema: Schema of the data set that it was trained on.
        data_dir: That data set's directory, for its vocabularies.
        export_dir: Directory of the model's versions, such as `saved_models/dlrm`.

    Returns:
        The new version's directory, `export_dir/VERSION`.
    """
    target = next_version(export_dir)
    with written_aside(target) as aside:
        _write(model, schema, data_dir, aside)
    return target


def copy_extras(schema: FeatureSchema, data_dir: Path, target: Path) -> None:
    """Put what raw rows need, the schema and the vocabularies, beside a model."""
    extra = target / EXTRA_DIRECTORY
    extra.mkdir()
    schema.without_data().save(extra)
    vocabulary = storage.at(data_dir) / "vocabulary"
    if vocabulary.is_dir():  # the hash dialect has none
        storage.copy_tree(vocabulary, extra / vocabulary.name)


def _write(
    model: keras.Model, schema: FeatureSchema, data_dir: Path, target: Path
) -> None:
    module = tf.Module()
    # The weights alone: the model itself would bring its optimizer's state along.
    module.weights = [weight.value for weight in model.weights]
    module.serving_default = serving_function(model, schema, checked=True)
    signatures = {"serving_default": module.serving_default}
    with tempfile.TemporaryDirectory() as work:
        if has_vocabularies(schema, data_dir):
            module.raw = RawSignatures(model, schema, data_dir, Path(work))
            signatures |= module.raw.functions()
        tf.saved_model.save(module, str(target), signatures=signatures)
    name_signatures(target, schema)
    copy_extras(schema, data_dir, target)


def load_scorer(path: Path) -> Scorer:
    """Load a SavedModel written by `export_model`.

    Args:
        path: A version's directory, or the directory of versions for the newest.

    Raises:
        InputError: If there is no such model there.
    """
    path = storage.at(path)
    if not is_whole(path):
        versions = [v for v in versions_in(path) if is_whole(path / str(v))]
        if not versions:
            raise InputError(
                f"{path} holds no SavedModel: expected a directory such as "
                "saved_models/dlrm/1, written by tfdlrm.train or tfdlrm.export"
            )
        path = path / str(max(versions))
    schema = FeatureSchema.load(path / EXTRA_DIRECTORY)
    return Scorer(path, schema, tf.saved_model.load(str(path)))
