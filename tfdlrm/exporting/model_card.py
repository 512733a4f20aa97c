"""The card of an exported model: what it is, what it was trained on, how good it is."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import polars as pl
import tensorflow as tf

from tfdlrm.base import storage
from tfdlrm.base.version import __version__
from tfdlrm.data.column_files import vocabulary_file
from tfdlrm.data.schema import FeatureSchema

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ModelCard:
    """What `model.json` says beside the columns.

    Args:
        config: The settings of training, as its `config.yaml` has them.
        metrics: The measures of each split, by name.
        quantization: How tables are stored, if not as they were trained.
        origin: Which weights these are, so that they are not exported twice.
    """

    config: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    quantization: str | None = None
    origin: dict[str, Any] | None = None

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
            path: The file.
            model: The model, for its size.
            schema: Its columns.
            name: Its name.
            version: The number of its version.
            example: A raw row that it can score.
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
                    each.name: each.vocabulary_size
                    for each in schema.categorical_features
                },
                "multi_hot": schema.multi_hot,
            },
            "config": self.config,
            "metrics": self.metrics,
            "example": example,
        }
        storage.replace_json(path, card)


def example_row(schema: FeatureSchema, vocabularies: Path) -> dict[str, str]:
    """A raw row that a model can score: ones, and the most frequent categories.

    Args:
        schema: The columns.
        vocabularies: The directory of the vocabularies' files, if there are any.

    Returns:
        The text of each column; blank where no value is known.
    """
    row = dict.fromkeys(schema.dense_features, "1")
    for feature in schema.categorical_features:
        path = vocabulary_file(vocabularies, feature.name)
        row[feature.name] = _most_frequent(path) if path.is_file() else ""
    return row


def _most_frequent(path: Path) -> str:
    most = pl.scan_parquet(path, glob=False).top_k(1, by="frequency").collect()["value"]
    if not len(most):
        return ""
    return most[0] if most.dtype == pl.String else f"{most[0]:08x}"
