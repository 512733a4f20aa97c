"""What a SavedModel answers: features, raw columns, and serialized Examples."""

import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from keyword import iskeyword
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.unknown_values import usual_shares
from tfdlrm.exporting.checks import checked_features
from tfdlrm.exporting.examples import ExampleReader
from tfdlrm.exporting.manifest import MARK, MODEL_FILE
from tfdlrm.exporting.raw_columns import COVERAGE_SIGNATURE
from tfdlrm.exporting.raw_graph import RawFeatures
from tfdlrm.exporting.unknown_counts import Coverage, hide_counts

METHODS = {
    "serving_default": tf.saved_model.PREDICT_METHOD_NAME,
    "raw": tf.saved_model.PREDICT_METHOD_NAME,
    "tf_example": tf.saved_model.PREDICT_METHOD_NAME,
    "classify": tf.saved_model.CLASSIFY_METHOD_NAME,
    "regress": tf.saved_model.REGRESS_METHOD_NAME,
}
"""The signatures, with the name by which TF Serving knows how to call each."""

CLASSES = ("0", "1")
"""The labels, in the order of `scores`."""


def serving_function(
    model: keras.Model, schema: FeatureSchema, checked: bool = False
) -> Callable[..., Any]:
    """The `tf.function` from features to `probability`.

    Args:
        model: A model from features to logits.
        schema: The columns.
        checked: Whether what cannot be scored is refused while it runs.
    """

    def probability(dense: Any, ids: Any) -> dict[str, tf.Tensor]:
        if checked:
            return {"probability": _score(model, checked_features(schema, dense, ids))}
        features = {"dense_features": dense, "categorical_features": ids}
        return {"probability": _score(model, features)}

    # The inputs have their names from the arguments; what there is none of is no input.
    if not schema.categorical_features:

        def of_dense(dense_features: tf.Tensor) -> dict[str, tf.Tensor]:
            nothing = tf.zeros([tf.shape(dense_features)[0], 0], tf.int64)
            return probability(dense_features, nothing)

        serving_default: Callable[..., Any] = of_dense

    elif not schema.dense_features:

        def of_ids(categorical_features: tf.Tensor) -> dict[str, tf.Tensor]:
            nothing = tf.zeros([tf.shape(categorical_features)[0], 0])
            return probability(nothing, categorical_features)

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
    """The inputs of a model of these columns, as `export_model` tells of them."""
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


class RawSignatures(tf.Module):
    """The signatures that take raw columns, with all that is between them and a model.

    Args:
        model: A model from features to logits.
        schema: The columns.
        directory: The directory that holds `vocabulary/`, if the dialect has one.
        work: Where files may go until the SavedModel is written.

    Raises:
        InputError: If a vocabulary cannot be read.
    """

    def __init__(
        self, model: keras.Model, schema: FeatureSchema, directory: Path, work: Path
    ) -> None:
        super().__init__()
        self._schema = schema
        self.features = RawFeatures(schema, directory, work)
        self.examples = ExampleReader(raw_columns(schema))
        self.coverage = Coverage(
            _counted(schema), usual_shares(directory, schema.coverage)
        )
        # Functions of the model: the model itself, and its optimizer's state, would be
        # saved with what it is an attribute of.
        self._probability = lambda features: _score(model, features)
        bag = tf.RaggedTensorSpec([None, None], tf.string, ragged_rank=1)
        self._score = _traced_once(
            self._score_columns,
            tf.TensorSpec([None, len(schema.dense_features)], tf.float64),
            tf.TensorSpec([None, len(schema.single_hot)], tf.string),
            [bag] * len(schema.multi_hot),
        )
        self._of_examples = _traced_once(
            self._score_examples, tf.TensorSpec([None], tf.string)
        )

    def functions(self) -> dict[str, Any]:
        """A concrete function for each signature beside `serving_default`."""
        arguments = raw_arguments(self._schema)
        raw = tf.function(self._raw, autograph=False).get_concrete_function(
            **{
                argument: tf.TensorSpec(self._raw_shape(column), tf.string, argument)
                for argument, column in arguments.items()
            }
        )
        functions = {"raw": raw}
        for name, argument, function in (
            ("tf_example", "examples", self._tf_example),
            ("classify", "inputs", self._classify),
            ("regress", "inputs", self._regress),
        ):
            spec = tf.TensorSpec([None], tf.string, argument)
            functions[name] = tf.function(
                function, autograph=False
            ).get_concrete_function(**{argument: spec})
        if self._schema.categorical_features:
            functions[COVERAGE_SIGNATURE] = self.coverage.function()
        return functions

    def _raw_shape(self, column: str) -> list[None]:
        return [None, None] if column in self._listed else [None]

    @property
    def _listed(self) -> list[str]:
        """The multi-hot columns whose values come as a list."""
        pairs = zip(self._schema.multi_hot, self.features.separators, strict=True)
        return [name for name, separator in pairs if separator is None]

    def _raw(self, **columns: tf.Tensor) -> dict[str, tf.Tensor]:
        schema = self._schema
        texts = {
            name: tf.ensure_shape(columns[argument], self._raw_shape(name))
            for argument, name in raw_arguments(schema).items()
        }
        num_rows = tf.shape(next(iter(texts.values())))[0]

        def stacked(names: Sequence[str]) -> tf.Tensor:
            if not names:
                return tf.fill([num_rows, 0], "")
            return tf.stack([texts[name] for name in names], axis=1)

        numbers = self.features.numbers(stacked(schema.dense_features))
        bags = [
            tf.RaggedTensor.from_tensor(
                texts[name] if name in self._listed else texts[name][:, None]
            )
            for name in schema.multi_hot
        ]
        return self._score(numbers, stacked(schema.single_hot), bags)

    def _tf_example(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._of_examples(examples)

    def _classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = dict(self._of_examples(inputs))
        probability = outputs.pop("probability")
        classes = tf.tile([CLASSES], [tf.shape(probability)[0], 1])
        scores = tf.concat([1 - probability, probability], axis=1)
        return {"classes": classes, "scores": scores, **outputs}

    def _regress(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = dict(self._of_examples(inputs))
        return {"outputs": outputs.pop("probability"), **outputs}

    def _score_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        schema = self._schema
        columns = self.examples(examples)
        num_dense, num_single = len(schema.dense_features), len(schema.single_hot)
        dense = columns.select(0, num_dense)
        single = columns.select(num_dense, num_dense + num_single)
        bags = columns.select(num_dense + num_single, len(columns.names))
        floats, are_floats = dense.single_floats()
        numbers = tf.where(
            are_floats,
            tf.cast(self.features.given(floats), tf.float64),
            self.features.numbers(dense.single_texts()),
        )
        columns.select(num_dense, len(columns.names)).refuse_floats()
        return self._score(numbers, single.single_texts(), bags.bags())

    def _score_columns(
        self, numbers: tf.Tensor, texts: tf.Tensor, bags: Sequence[tf.RaggedTensor]
    ) -> dict[str, tf.Tensor]:
        ids, counts = self.features.ids(texts, bags)
        features = {
            "dense_features": self.features.dense(numbers),
            "categorical_features": ids,
        }
        outputs = {"probability": self._probability(features)}
        return outputs | counts if self._schema.categorical_features else outputs


def _traced_once(function: Callable[..., Any], *specs: Any) -> Callable[..., Any]:
    """A function that is in a SavedModel once, however many signatures call it."""
    traced = tf.function(function, input_signature=specs, autograph=False)
    # A `tf.function` that is an attribute would be saved once more by itself.
    return lambda *inputs: traced(*inputs)


def raw_columns(schema: FeatureSchema) -> list[str]:
    """The columns that the raw signatures take, in order."""
    return [
        *schema.dense_features,
        *(each.name for each in schema.categorical_features),
    ]


def raw_arguments(schema: FeatureSchema) -> dict[str, str]:
    """The columns by the names that they have as arguments of a Python function.

    Example:

    >>> raw_arguments(FeatureSchema(("age", "price (EUR)"), ()))
    {'age': 'age', 'column_1': 'price (EUR)'}
    """
    columns = raw_columns(schema)
    lower = [column.lower() for column in columns]
    named = {}
    for position, column in enumerate(columns):
        # TensorFlow takes underscores off the front of names, writes them in lower
        # case, and has a `self` already.
        is_plain = re.fullmatch("(?ai)(?!column_|self$)[a-z][a-z0-9_]*", column)
        if is_plain and not iskeyword(column) and lower.count(lower[position]) == 1:
            named[column] = column
        else:
            named[f"column_{position}"] = column
    return named


def _score(model: keras.Model, features: dict[str, Any]) -> tf.Tensor:
    return tf.sigmoid(model(features, training=False))


def name_signatures(directory: Path, schema: FeatureSchema) -> None:
    """Give signatures the methods, and inputs the names, that TF Serving goes by.

    Also mark the graph as that of a version with a manifest, which is still to come.

    Args:
        directory: A SavedModel as TensorFlow wrote it: every signature is one to
            predict with, and the inputs of `raw` are called after arguments.
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
        # A column may have the name of another one's argument.
        infos = {name: deepcopy(info) for name, info in inputs.items()}
        inputs.clear()
        for argument, column in raw_arguments(schema).items():
            inputs[column].CopyFrom(infos[argument])
    hide_counts(graph, _counted(schema))
    path.write_bytes(saved_model.SerializeToString(deterministic=True))


def _counted(schema: FeatureSchema) -> list[str]:
    """The columns whose unknown values are counted, in the order of the counts."""
    return [feature.name for feature in schema.categorical_features]
