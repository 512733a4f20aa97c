"""A model as a file for LiteRT, which is checked with LiteRT before it appears."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdlrm.base.errors import InputError
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.quantization import QuantizedTable, lookups_in
from tfdlrm.exporting.signatures import serving_function
from tfdlrm.layers._devices import without_tf32
from tfdlrm.layers._fused_tables import FusedTables

FILE_NAME = "model.tflite"

MOST_BYTES = 2_000_000_000
"""Most bytes of weights: a file has at most 2 GiB, with 32-bit offsets."""

LARGEST_DIFFERENCE = 1e-5
"""Largest difference of a probability to that of TensorFlow."""


def write_litert(
    model: keras.Model,
    schema: FeatureSchema,
    rows: Mapping[str, tf.Tensor],
    directory: Path,
    quantized: Mapping[FusedTables, QuantizedTable],
) -> Path:
    """Write `model.tflite` into an existing directory.

    Its signature `serving_default` is that of the SavedModel. LiteRT fails on input of
    other shapes, ids outside their vocabularies and dense features that are not finite.

    Args:
        model: A model from features to logits.
        schema: The columns, all of them single-hot.
        rows: Features, by the names of the inputs, to compare the outputs on.
        directory: The directory to write into.
        quantized: Tables to write instead of the model's own; see `quantize_tables`.

    Returns:
        The path of the file.

    Raises:
        InputError: If the model cannot be converted or is too large, or if LiteRT
            computes other outputs.
    """
    _require_convertible(model, schema, quantized)
    with without_tf32(), lookups_in(quantized):  # LiteRT does not have TF32
        function: Any = serving_function(model, schema, True, guard_features)
        content = _convert(model, function, quantized)
        _verify(content, function, rows)
    target = directory / FILE_NAME
    target.write_bytes(content)
    return target


def guard_features(
    schema: FeatureSchema, dense: tf.Tensor, ids: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Return features for which LiteRT fails if they cannot be scored.

    LiteRT has no assertions, and takes inputs of any shape.

    Args:
        schema: The columns.
        dense: Expected to be float32 `(batch, n)`, of finite numbers.
        ids: Expected to be int64 `(batch, features)`, inside their vocabularies.
    """
    num_dense, num_ids = len(schema.dense_features), len(schema.categorical_features)
    if num_dense and num_ids:
        # Each has as many rows as the other, or the wrong number of values.
        shapes = [tf.shape(ids)[0], num_dense], [tf.shape(dense)[0], num_ids]
        dense, ids = tf.reshape(dense, shapes[0]), tf.reshape(ids, shapes[1])
    if num_ids:
        sizes = np.array(schema.vocabulary_sizes, np.int64)
        is_good = (ids >= 0) & (ids < sizes)
        if num_dense:
            is_finite = tf.abs(dense) <= np.finfo(np.float32).max
            is_good &= tf.reduce_all(is_finite, axis=1, keepdims=True)
        # LiteRT refuses to look up an entry that is not there.
        ids += tf.gather(tf.constant([0], tf.int64), tf.where(is_good, 0, 1))
    return {"dense_features": dense, "categorical_features": ids}


def interpreter_class() -> Any:
    """Return LiteRT's interpreter, of `ai-edge-litert` or TensorFlow.

    Raises:
        InputError: If neither has one.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        interpreter = getattr(getattr(tf, "lite", None), "Interpreter", None)
        if interpreter is None:
            raise InputError(
                f"{FILE_NAME} needs an interpreter, which this TensorFlow lacks: "
                "pip install ai-edge-litert"
            ) from None
        return interpreter
    return Interpreter


def _require_convertible(
    model: keras.Model,
    schema: FeatureSchema,
    quantized: Mapping[FusedTables, QuantizedTable],
) -> None:
    if schema.multi_hot:
        raise InputError(
            "this model cannot be written for LiteRT, which has no bags: it has "
            "multi-hot columns; export it as saved_model"
        )
    replaced = {id(layer.tables[0]) for layer in quantized}
    size = sum(table.num_bytes for table in quantized.values()) + sum(
        int(np.prod(weight.shape)) * 4
        for weight in model.weights
        if id(weight) not in replaced
    )
    if size > MOST_BYTES:
        raise InputError(
            f"this model cannot be written for LiteRT: its weights have {size:,} "
            f"bytes, expected <= {MOST_BYTES:,}; give --quantize int8, or export it as "
            "saved_model"
        )


def _convert(
    model: keras.Model,
    function: Any,
    quantized: Mapping[FusedTables, QuantizedTable],
) -> bytes:
    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    module.quantized = list(quantized.values())
    module.serving_default = function
    with tempfile.TemporaryDirectory(prefix="tfdlrm-") as work:
        tf.saved_model.save(module, work, signatures={"serving_default": function})
        converter = tf.lite.TFLiteConverter.from_saved_model(
            work, signature_keys=["serving_default"]
        )
        try:
            content: bytes = converter.convert()
        except Exception as error:  # the converter's exceptions have no common base
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"this model cannot be written for LiteRT: {reason}; export it as "
                "saved_model"
            ) from None
    return content


def _verify(content: bytes, function: Any, rows: Mapping[str, tf.Tensor]) -> None:
    """Refuse a file that LiteRT does not run as TensorFlow runs the model."""
    inputs = {
        spec.name: tf.cast(rows[spec.name], spec.dtype)
        for spec in function.input_signature
    }
    expected = function(**inputs)["probability"].numpy()
    interpreter = interpreter_class()(model_content=content, num_threads=1)
    runner = interpreter.get_signature_runner("serving_default")
    arrays = {name: value.numpy() for name, value in inputs.items()}
    difference = np.max(np.abs(runner(**arrays)["probability"] - expected), initial=0)
    if not difference <= LARGEST_DIFFERENCE:
        raise InputError(
            "this model cannot be written for LiteRT: its probability differs by up to "
            f"{difference:.1e} there; export it as saved_model"
        )
