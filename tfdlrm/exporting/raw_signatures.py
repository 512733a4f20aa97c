"""Signatures that take raw columns, or serialized Examples of them."""

import re
from collections.abc import Callable, Sequence
from keyword import iskeyword
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.unknown_values import usual_shares
from tfdlrm.exporting.examples import ExampleReader
from tfdlrm.exporting.raw_columns import COVERAGE_SIGNATURE
from tfdlrm.exporting.raw_graph import RawFeatures
from tfdlrm.exporting.unknown_counts import Coverage

CLASSES = ("0", "1")
"""The labels, in the order of `scores`."""


class RawSignatures(tf.Module):
    """The signatures that take raw columns, and their conversion to features.

    Args:
        model: A model from features to logits.
        schema: The columns.
        directory: The directory that holds `vocabulary/`, if the dialect has one.
        work: Directory for temporary files, until the SavedModel is written.

    Raises:
        InputError: If a vocabulary cannot be read.
    """

    def __init__(
        self, model: keras.Model, schema: FeatureSchema, directory: Path, work: Path
    ) -> None:
        super().__init__()
        self._schema = schema
        self.features = RawFeatures(schema, directory, work)
        self.examples = ExampleReader(schema.raw_columns)
        self.coverage = Coverage(
            schema.categorical_values, usual_shares(directory, schema.coverage)
        )
        # A function: as an attribute, the model would be saved too, and with it the
        # optimizer's state.
        self._probability = lambda features: tf.sigmoid(model(features, training=False))
        bag = tf.RaggedTensorSpec([None, None], tf.string, ragged_rank=1)
        self._score = _trace_once(
            self._score_columns,
            tf.TensorSpec([None, len(schema.number_columns)], tf.float64),
            tf.TensorSpec([None, len(schema.text_columns)], tf.string),
            [bag] * len(schema.multi_hot),
        )
        self._of_examples = _trace_once(
            self._score_examples, tf.TensorSpec([None], tf.string)
        )

    def functions(self) -> dict[str, Any]:
        """Return a concrete function for each signature except `serving_default`."""
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
        if self._schema.categorical_values:
            functions[COVERAGE_SIGNATURE] = self.coverage.function()
        return functions

    def _raw_shape(self, column: str) -> list[None]:
        return [None, None] if column in self._listed else [None]

    @property
    def _listed(self) -> list[str]:
        """Multi-hot columns whose values come as a list."""
        pairs = zip(self._schema.multi_hot, self.features.separators, strict=True)
        return [name for name, separator in pairs if separator is None]

    def _raw(self, **columns: tf.Tensor) -> dict[str, tf.Tensor]:
        schema = self._schema
        texts = {
            name: tf.ensure_shape(columns[argument], self._raw_shape(name))
            for argument, name in raw_arguments(schema).items()
        }
        num_rows = tf.shape(next(iter(texts.values())))[0]

        def stack(names: Sequence[str]) -> tf.Tensor:
            if not names:
                return tf.fill([num_rows, 0], "")
            return tf.stack([texts[name] for name in names], axis=1)

        numbers = self.features.numbers(stack(schema.number_columns))
        bags = [
            tf.RaggedTensor.from_tensor(
                texts[name] if name in self._listed else texts[name][:, None]
            )
            for name in schema.multi_hot
        ]
        return self._score(numbers, stack(schema.text_columns), bags)

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
        columns = self.examples(examples)
        dense = columns.select(self._schema.number_columns)
        single = columns.select(self._schema.text_columns)
        bags = columns.select(self._schema.multi_hot)
        floats, are_floats = dense.single_floats()
        numbers = tf.where(
            are_floats,
            self.features.float_numbers(floats),
            self.features.numbers(dense.single_texts()),
        )
        columns.select(self._schema.categorical_values).refuse_floats()
        return self._score(numbers, single.single_texts(), bags.bags())

    def _score_columns(
        self, numbers: tf.Tensor, texts: tf.Tensor, bags: Sequence[tf.RaggedTensor]
    ) -> dict[str, tf.Tensor]:
        ids, counts = self.features.ids(texts, bags, numbers)
        features = {
            "dense_features": self.features.dense(numbers),
            "categorical_features": ids,
        }
        outputs = {"probability": self._probability(features)}
        return outputs | counts if self._schema.categorical_values else outputs


def _trace_once(function: Callable[..., Any], *specs: Any) -> Callable[..., Any]:
    """Return a function that a SavedModel holds once, however many signatures call it.

    A `tf.function` that is an attribute would be saved once more by itself.
    """
    graph_function = tf.function(function, input_signature=specs, autograph=False)
    return lambda *inputs: graph_function(*inputs)


def raw_arguments(schema: FeatureSchema) -> dict[str, str]:
    """Return the columns by their names as arguments of a Python function.

    Example:

    >>> raw_arguments(FeatureSchema(("age", "price (EUR)"), ()))
    {'age': 'age', 'column_1': 'price (EUR)'}
    """
    columns = schema.raw_columns
    lower = [column.lower() for column in columns]
    arguments = {}
    for position, column in enumerate(columns):
        # TensorFlow removes leading underscores from names, turns them into lower
        # case, and has an argument `self`.
        is_plain = re.fullmatch("(?ai)(?!column_|self$)[a-z][a-z0-9_]*", column)
        if is_plain and not iskeyword(column) and lower.count(lower[position]) == 1:
            arguments[column] = column
        else:
            arguments[f"column_{position}"] = column
    return arguments
