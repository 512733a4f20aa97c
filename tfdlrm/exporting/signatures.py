"""All signatures of a SavedModel, their methods and names, and the one for features."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.checks import check_features
from tfdlrm.exporting.manifest import MARK, MODEL_FILE
from tfdlrm.exporting.raw_signatures import raw_arguments
from tfdlrm.exporting.unknown_counts import hide_counts

METHODS = {
    "serving_default": tf.saved_model.PREDICT_METHOD_NAME,
    "raw": tf.saved_model.PREDICT_METHOD_NAME,
    "tf_example": tf.saved_model.PREDICT_METHOD_NAME,
    "classify": tf.saved_model.CLASSIFY_METHOD_NAME,
    "regress": tf.saved_model.REGRESS_METHOD_NAME,
}
"""The signatures, with the method by which TF Serving calls each."""


def serving_function(
    model: keras.Model,
    schema: FeatureSchema,
    checked: bool = False,
    check: Callable[..., dict[str, tf.Tensor]] = check_features,
) -> Callable[..., Any]:
    """Return the `tf.function` from features to `probability`.

    Args:
        model: A model from features to logits.
        schema: The columns.
        checked: Whether the graph refuses input that cannot be scored.
        check: Function of `schema`, dense features and ids that does so.
    """

    def probability(dense: Any, ids: Any) -> dict[str, tf.Tensor]:
        if checked:
            return {"probability": _score(model, check(schema, dense, ids))}
        features = {"dense_features": dense, "categorical_features": ids}
        return {"probability": _score(model, features)}

    # Inputs are named after arguments; features that the data set lacks are not inputs.
    if not schema.categorical_features:

        def of_dense(dense_features: tf.Tensor) -> dict[str, tf.Tensor]:
            no_ids = tf.zeros([tf.shape(dense_features)[0], 0], tf.int64)
            return probability(dense_features, no_ids)

        serving_default: Callable[..., Any] = of_dense

    elif not schema.dense_features:

        def of_ids(categorical_features: tf.Tensor) -> dict[str, tf.Tensor]:
            no_dense = tf.zeros([tf.shape(categorical_features)[0], 0])
            return probability(no_dense, categorical_features)

        serving_default = of_ids

    else:

        def of_both(
            dense_features: tf.Tensor, categorical_features: tf.Tensor
        ) -> dict[str, tf.Tensor]:
            return probability(dense_features, categorical_features)

        serving_default = of_both

    return tf.function(
        serving_default, input_signature=input_specs(schema), autograph=False
    )


def input_specs(schema: FeatureSchema) -> list[tf.TensorSpec]:
    """Return the inputs of `serving_default`; see `export_model`."""
    specs = []
    if schema.dense_features:
        shape = [None, len(schema.dense_features)]
        specs.append(tf.TensorSpec(shape, tf.float32, "dense_features"))
    if schema.categorical_features:
        shape = [None, len(schema.categorical_features)]
        if schema.multi_hot:
            shape.append(None)
        specs.append(tf.TensorSpec(shape, tf.int64, "categorical_features"))
    return specs


def _score(model: keras.Model, features: dict[str, Any]) -> tf.Tensor:
    return tf.sigmoid(model(features, training=False))


def name_signatures(directory: Path, schema: FeatureSchema) -> None:
    """Set the methods of signatures and the names of inputs that TF Serving uses.

    Also marks the graph as that of a version with a manifest, which is written later.

    Args:
        directory: A SavedModel as TensorFlow wrote it: the method of every signature is
            to predict, and the inputs of `raw` have the names of arguments.
        schema: The columns.
    """
    path = directory / MODEL_FILE
    saved_model = SavedModel.FromString(path.read_bytes())
    (graph,) = saved_model.meta_graphs
    graph.meta_info_def.meta_graph_version = MARK
    for name, method in METHODS.items():
        if name in graph.signature_def:
            graph.signature_def[name].method_name = method
    if "raw" in graph.signature_def:
        inputs = graph.signature_def["raw"].inputs
        # A column may have the name of another column's argument.
        infos = {name: deepcopy(info) for name, info in inputs.items()}
        inputs.clear()
        for argument, column in raw_arguments(schema).items():
            inputs[column].CopyFrom(infos[argument])
    hide_counts(graph, schema.categorical_values)
    path.write_bytes(saved_model.SerializeToString(deterministic=True))
