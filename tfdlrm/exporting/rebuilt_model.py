"""The Keras model of an exported version, with its weights."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfdlrm.base import local_copies
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.entries import Piece
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.exported_weights import settings_of
from tfdlrm.exporting.tensor_bundle import StoredTensor, stored_tensors
from tfdlrm.layers._fused_tables import FusedTables
from tfdlrm.models.ensemble import build_ensemble

_VALUE = ".ATTRIBUTES/VARIABLE_VALUE"


def rebuild_model(version: Path, schema: FeatureSchema) -> keras.Model:
    """Return the Keras model from features to logits, with the weights of a version.

    Tables of 8 bits a number become the float32 numbers that the version computes with.

    Args:
        version: Directory of the version.
        schema: Its schema.

    Raises:
        InputError: If the version does not say which settings its model has, or a file
            of it is damaged.
    """
    settings = settings_of(version)
    if settings is None:
        raise InputError(
            f"{version} does not say which settings its model has: expected one that "
            "tfdlrm.train or tfdlrm.export wrote"
        )
    with tf.device("CPU:0"):
        model = build_ensemble(schema, settings.model, settings.ensemble)
    folder = local_copies.local_copy(version / tf.saved_model.VARIABLES_DIRECTORY)
    tensors = stored_tensors(folder / tf.saved_model.VARIABLES_FILENAME)
    quantized = _read_quantized(model, tensors)
    variables = SavedVariables(model, with_optimizer=False)
    exact = [weight for weight in model.weights if id(weight) not in quantized]
    for number, weight in enumerate(exact):
        tensor = tensors.get(f"weights/{number}/{_VALUE}")
        if tensor is None or tensor.shape != tuple(weight.shape):
            raise InputError(
                f"{version} has other weights than its settings say: export the run "
                "again"
            )
        name = variables.holder_of(weight).name
        for piece in tensor.pieces():
            variables.assign(Piece(name, piece.values, piece.rows))
    return model


def _read_quantized(
    model: keras.Model, tensors: Mapping[str, StoredTensor]
) -> set[int]:
    """Read tables of 8 bits a number; return which weights of the model they are."""
    tables = [
        layer.tables[0]
        for layer in model._flatten_layers()
        if isinstance(layer, FusedTables) and layer.dim > 1
    ]
    quantized = set()
    for number, table in enumerate(tables):
        prefix = f"quantized/{number}"
        if f"{prefix}/rows/{_VALUE}" not in tensors:
            continue
        rows = _read(tensors[f"{prefix}/rows/{_VALUE}"])
        scales = _read(tensors[f"{prefix}/scales/{_VALUE}"])
        table.assign(rows.astype(np.float32) * scales[:, None])
        quantized.add(id(table))
    return quantized


def _read(tensor: StoredTensor) -> np.ndarray:
    return np.concatenate([piece.values for piece in tensor.pieces()])
