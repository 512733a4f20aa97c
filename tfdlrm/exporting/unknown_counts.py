"""Counts of unknown values inside a served graph, which clients of `raw` do not see.

Every signature that takes raw values computes them. `raw_unknown` returns them next to
the probability. A server finds the counts of the other signatures by
`COUNTS_COLLECTION`, so that their outputs are those that TF Serving's clients expect.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

from tfdlrm.data.dialects import traits_of
from tfdlrm.data.schema import UNKNOWN_ID, FeatureSchema
from tfdlrm.exporting.raw_columns import COUNTS, RAW_SIGNATURE, UNKNOWN_SIGNATURE

COUNTS_COLLECTION = "tfdlrm_counts/"
"""Prefix of a signature's name: the collection of the tensors of its `COUNTS`."""

COLUMNS_COLLECTION = "tfdlrm_columns"
"""The collection of the names of the counted columns."""


class UnknownCounter:
    """Counts the values that have no id of their own.

    Args:
        schema: The columns.
        unknown_ids: For each column, the id of unknown values.
        namesakes: For each column, the known value that shares this id, if any.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        unknown_ids: Sequence[int],
        namesakes: Sequence[int | None],
    ) -> None:
        self._has_unknown = traits_of(schema.dialect).has_vocabulary
        self._unknown_ids = np.array(unknown_ids, np.int64)
        self._has_namesake = np.array([value is not None for value in namesakes], bool)
        self._namesakes = np.array([value or 0 for value in namesakes], np.int64)

    def single_hot(
        self, values: tf.Tensor, ids: tf.Tensor, is_missing: tf.Tensor
    ) -> list[tf.Tensor]:
        """Count columns with one value a row.

        Args:
            values: `(batch, columns)`, text or whole numbers.
            ids: Ids of the values.
            is_missing: Whether each value is missing.

        Returns:
            The `COUNTS` of these columns.
        """
        if not self._has_unknown:
            return _no_unknown(tf.ones_like(ids, tf.int32))
        width = ids.shape[1]
        is_unknown = (ids == self._unknown_ids[:width]) & ~is_missing
        if self._has_namesake[:width].any():
            is_namesake = self._has_namesake[:width] & (
                values == self._namesakes[:width]
            )
            is_unknown &= ~is_namesake
        return [tf.cast(is_unknown, tf.int32), tf.ones_like(ids, tf.int32)]

    def bag(self, ids: tf.RaggedTensor) -> list[tf.Tensor]:
        """Count the values of a multi-hot column; an empty bag is a missing value."""
        num_values = tf.maximum(tf.cast(ids.row_lengths(), tf.int32), 1)[:, None]
        if not self._has_unknown:
            return _no_unknown(num_values)
        is_unknown = ids.with_values(tf.cast(ids.values == UNKNOWN_ID, tf.int32))
        return [tf.reduce_sum(is_unknown, axis=1)[:, None], num_values]


def _no_unknown(num_values: tf.Tensor) -> list[tf.Tensor]:
    return [tf.zeros_like(num_values), num_values]


def join_counts(parts: Sequence[Sequence[tf.Tensor]]) -> dict[str, tf.Tensor]:
    """Concatenate the counts of several groups of columns."""
    return {
        name: tf.concat([part[i] for part in parts], axis=1)
        for i, name in enumerate(COUNTS)
    }


def hide_counts(graph: MetaGraphDef, columns: Sequence[str]) -> None:
    """Remove the counts from the outputs of signatures, and record their tensors.

    Args:
        graph: The graph of a SavedModel, changed in place.
        columns: Names of the counted columns.
    """
    definitions = graph.signature_def
    signatures = [
        name
        for name, definition in definitions.items()
        if all(count in definition.outputs for count in COUNTS)
    ]
    if not signatures:
        return
    definitions[UNKNOWN_SIGNATURE].CopyFrom(definitions[RAW_SIGNATURE])
    for name in signatures:
        outputs = definitions[name].outputs
        tensors = graph.collection_def[COUNTS_COLLECTION + name].node_list
        for count in COUNTS:
            tensors.value.append(outputs[count].name)
            del outputs[count]
    names = graph.collection_def[COLUMNS_COLLECTION].bytes_list
    names.value.extend(column.encode() for column in columns)


class Coverage(tf.Module):
    """Shares of unknown values in a model's data set, for clients to compare with.

    Args:
        columns: Names of the counted columns, in the order of `COUNTS`.
        usual: Shares of unknown values by column; a column without one gets -1.
    """

    def __init__(self, columns: Sequence[str], usual: Mapping[str, float]) -> None:
        super().__init__()
        self._columns = list(columns)
        # JSON has no NaN.
        self._shares = [usual.get(name, -1.0) for name in columns]

    def function(self) -> Any:
        """Return the function from numbers of columns to their names and shares."""
        spec = tf.TensorSpec([None], tf.int64, "number")
        return tf.function(self._look_up, autograph=False).get_concrete_function(spec)

    def _look_up(self, number: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "name": tf.gather(tf.constant(self._columns), number),
            "unknown_share": tf.gather(tf.constant(self._shares, tf.float32), number),
        }
