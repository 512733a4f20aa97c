"""The card of an exported model: its columns, training settings and measures."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfdlrm.base import storage
from tfdlrm.base.version import __version__
from tfdlrm.config.preparing import settings_of
from tfdlrm.data.schema import FeatureSchema

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ModelCard:
    """Contents of `model.json`, except the columns.

    Args:
        config: The settings of training, as in its `config.yaml`.
        metrics: The measures of each split, by name.
        quantization: How tables are stored, if not as they were trained.
        origin: Identifies the weights, so that they are not exported twice.
        training: The steps done, what ended them, and the step whose weights these are.
    """

    config: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    quantization: str | None = None
    origin: dict[str, Any] | None = None
    training: dict[str, Any] | None = None

    def write(
        self,
        path: Path,
        model: keras.Model,
        schema: FeatureSchema,
        name: str,
        version: int,
        example: dict[str, str],
    ) -> None:
        """Write the card of a model.

        Args:
            path: The file to write.
            model: The model, whose parameters are counted.
            schema: The columns.
            name: Name of the model.
            version: Number of the version.
            example: A raw row that the model can score.
        """
        card = {
            "format_version": FORMAT_VERSION,
            "name": name,
            "version": version,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "code_version": __version__,
            "tensorflow_version": tf.__version__,
            "keras_version": keras.__version__,
            "architecture": model.name,
            "parameters": model.count_params(),
            "quantization": self.quantization,
            "origin": self.origin,
            "schema": {
                "label": schema.label,
                "dialect": schema.dialect,
                "dense_features": list(schema.dense_features),
                "categorical_features": {
                    feature.name: feature.vocabulary_size
                    for feature in schema.categorical_features
                },
                "multi_hot": schema.multi_hot,
                **_transforms(schema),
            },
            "config": _used_settings(self.config, schema),
            "training": self.training,
            "metrics": self.metrics,
            "example": example,
        }
        storage.replace_json(path, card)


def _transforms(schema: FeatureSchema) -> dict[str, Any]:
    """Return how features are read from columns of numbers, if in ways of their own."""
    if not schema.transforms:
        return {}
    transforms = {
        name: feature.to_json() for name, feature in schema.transforms.items()
    }
    return {"transforms": transforms}


def _used_settings(
    config: dict[str, Any] | None, schema: FeatureSchema
) -> dict[str, Any] | None:
    """Return settings of training with those by which the data set was prepared."""
    if config is None:
        return None
    settings = {name: value for name, value in config.items() if name != "prepare"}
    return settings | {"prepare": settings_of(schema)}


def example_row(schema: FeatureSchema, categories: Sequence[str]) -> dict[str, str]:
    """Return a raw row that a model can score: ones, and the given categories.

    Args:
        schema: The columns.
        categories: The text of each categorical column, such as its most frequent
            value; blank if no value is known.
    """
    row = dict.fromkeys(schema.number_columns, "1")
    names = [feature.name for feature in schema.categorical_features]
    values = dict(zip(names, categories, strict=True))
    return row | {name: values[name] for name in schema.categorical_values}
