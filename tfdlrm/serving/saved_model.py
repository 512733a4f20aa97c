"""A trained DLRM as a SavedModel that TF Serving takes, and back as a function."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfdlrm.errors import InputError
from tfdlrm.schema import FeatureSchema

EXTRA_DIRECTORY = "assets.extra"
"""TF Serving's place for files that travel with a model but are not in its graph."""


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
        return self.module.signatures["serving_default"](
            dense_features=features["dense_features"],
            categorical_features=tf.cast(features["categorical_features"], tf.int64),
        )["probability"]

    @property
    def extra_directory(self) -> Path:
        """Where the schema and the vocabularies are."""
        return self.path / EXTRA_DIRECTORY


def export_model(
    model: keras.Model, schema: FeatureSchema, data_dir: Path, export_dir: Path
) -> Path:
    """Write the next version of a model, complete or not at all.

    The signature `serving_default` takes `dense_features` (batch, n) float32 and
    `categorical_features` (batch, features) int64 and gives `probability` (batch, 1)
    float32. The schema and the vocabularies go along, for raw rows.

    Args:
        model: A model from such features to logits.
        schema: Schema of the data set that it was trained on.
        data_dir: That data set's directory, for its vocabularies.
        export_dir: Directory of the model's versions, such as `saved_models/dlrm`.

    Returns:
        The new version's directory, `export_dir/VERSION`.
    """
    export_dir = Path(export_dir)
    version = max(_versions(export_dir), default=0) + 1
    target = export_dir / str(version)
    aside = export_dir / f".{version}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        _write(model, schema, data_dir, aside)
        aside.replace(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _write(
    model: keras.Model, schema: FeatureSchema, data_dir: Path, target: Path
) -> None:
    @tf.function(
        input_signature=[
            tf.TensorSpec(
                [None, len(schema.dense_features)], tf.float32, "dense_features"
            ),
            tf.TensorSpec(
                [None, len(schema.categorical_features)],
                tf.int64,
                "categorical_features",
            ),
        ]
    )
    def serving_default(
        dense_features: tf.Tensor, categorical_features: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        logits = model(
            {
                "dense_features": dense_features,
                "categorical_features": categorical_features,
            },
            training=False,
        )
        return {"probability": tf.sigmoid(logits)}

    module = tf.Module()
    # The weights alone: the model itself would bring its optimizer's state along.
    module.weights = [weight.value for weight in model.weights]
    module.serving_default = serving_default
    tf.saved_model.save(
        module, str(target), signatures={"serving_default": serving_default}
    )
    extra = target / EXTRA_DIRECTORY
    extra.mkdir()
    schema.without_data().save(extra)
    shutil.copytree(Path(data_dir) / "vocabulary", extra / "vocabulary")


def load_scorer(path: Path) -> Scorer:
    """Load a SavedModel written by `export_model`.

    Args:
        path: A version's directory, or the directory of versions for the newest.

    Raises:
        InputError: If there is no such model there.
    """
    path = Path(path)
    if not (path / "saved_model.pb").is_file():
        versions = _versions(path)
        if not versions:
            raise InputError(
                f"{path} holds no SavedModel: expected a directory such as "
                "saved_models/dlrm/1, written by tfdlrm.train or tfdlrm.export"
            )
        path = path / str(max(versions))
    schema = FeatureSchema.load(path / EXTRA_DIRECTORY)
    return Scorer(path, schema, tf.saved_model.load(str(path)))


def _versions(export_dir: Path) -> list[int]:
    if not export_dir.is_dir():
        return []
    return [int(entry.name) for entry in export_dir.iterdir() if entry.name.isdigit()]
