"""Multi-hot ids of any form as one flat sequence, and sums over their bags."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from tfdlrm.layers._devices import has_gpu, id_dtype
from tfdlrm.layers._id_forms import require_integers
from tfdlrm.layers._weight_forms import (
    dense_weights,
    listed_weights,
    ragged_weights,
)


@dataclass(frozen=True)
class IdBags:
    """The ids of a batch, each with its row and its feature.

    Args:
        ids: Shape `(n,)`.
        features: Position of the feature of each id, shape `(n,)`.
        rows: Row in the batch of each id, shape `(n,)`.
        num_rows: Rows of the batch.
        num_features: Number of features.
        weights: Weight of each id, shape `(n,)`, or `None` if all are 1.
    """

    ids: Any
    features: Any
    rows: Any
    num_rows: Any
    num_features: int
    weights: Any

    @classmethod
    def from_padded(cls, ids: Any, weights: Any, num_features: int) -> "IdBags":
        """Read ids `(batch, features, width)`, or `(batch, features)`, one a bag.

        Negative ids are padding.
        """
        if weights is not None:
            weights = ops.reshape(dense_weights(ids, weights), [-1])
        if len(ids.shape) == 2:
            ids = ids[..., None]
        if keras.backend.standardize_dtype(ids.dtype) == "int32":
            ids = ops.cast(ids, id_dtype())
        num_rows, _, width = ops.shape(ids)
        positions = ops.arange(num_rows * num_features * width, dtype=id_dtype())
        bag_numbers = positions // ops.cast(width, id_dtype())
        bags = cls(
            ids=ops.reshape(ids, [-1]),
            features=bag_numbers % num_features,
            rows=bag_numbers // num_features,
            num_rows=num_rows,
            num_features=num_features,
            weights=weights,
        )
        return bags.keep(bags.ids >= 0)

    @classmethod
    def from_ragged(cls, ids: Any, weights: Any, num_features: int) -> "IdBags":
        """Read a `tf.RaggedTensor` of shape `(batch, features, None)`."""
        import tensorflow as tf

        if ids.shape.rank != 3 or ids.ragged_rank != 2:
            raise ValueError(
                f"Got ragged ids of shape {ids.shape} and ragged rank "
                f"{ids.ragged_rank}, expected (batch, features, None) and 2."
            )
        if has_gpu():
            ids = ids.with_row_splits_dtype(tf.int64)  # see `id_dtype`
        if ids.uniform_row_length is not None and ids.shape[1] == num_features:
            bag_numbers = _bag_numbers(ids)
        else:
            message = f"each row of ragged ids must have {num_features} features"
            expected = tf.cast(num_features, ids.row_splits.dtype)
            check = tf.debugging.assert_equal(ids.row_lengths(), expected, message)
            with tf.control_dependencies([check] if check is not None else []):
                bag_numbers = tf.identity(_bag_numbers(ids))
        return cls(
            ids=ids.flat_values,
            features=bag_numbers % num_features,
            rows=bag_numbers // num_features,
            num_rows=ids.nrows(),
            num_features=num_features,
            weights=None if weights is None else ragged_weights(ids, weights),
        )

    @classmethod
    def from_indices_and_offsets(
        cls, pair: Sequence[Any], weights: Any, num_features: int
    ) -> "IdBags":
        """Read a sequence of ids for each feature, and the starts of bags in it."""
        import tensorflow as tf

        indices, offsets = pair
        offsets = tf.convert_to_tensor(offsets)
        if not offsets.dtype.is_integer:
            raise ValueError(f"Got offsets of {offsets.dtype.name}, expected integers.")
        offsets = tf.cast(offsets, tf.int64)
        if len(indices) != num_features or offsets.shape[0] != num_features:
            raise ValueError(
                f"Got {len(indices)} sequences of indices and offsets of shape "
                f"{offsets.shape}, expected {num_features} and ({num_features}, batch)."
            )
        ragged = [
            tf.RaggedTensor.from_row_starts(_to_int64(ids, feature), starts)
            for feature, (ids, starts) in enumerate(
                zip(indices, tf.unstack(offsets), strict=True)
            )
        ]
        features = [
            tf.fill([tf.size(bags.values)], feature)
            for feature, bags in enumerate(ragged)
        ]
        return cls(
            ids=tf.concat([bags.values for bags in ragged], axis=0),
            features=tf.cast(tf.concat(features, axis=0), tf.int64),
            rows=tf.concat([bags.value_rowids() for bags in ragged], axis=0),
            num_rows=tf.shape(offsets)[1],
            num_features=num_features,
            weights=None if weights is None else listed_weights(indices, weights),
        )

    def keep(self, mask: Any) -> "IdBags":
        """Keep the ids for which `mask` is true."""
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            return self._map(lambda values: tf.boolean_mask(values, mask))
        # Other backends have fixed shapes: absent ids stay, as id 0 with weight 0.
        weights = ops.cast(mask, "float32")
        if self.weights is not None:
            weights = weights * self.weights
        return replace(self, ids=ops.where(mask, self.ids, 0), weights=weights)

    def select(self, positions: np.ndarray) -> "IdBags":
        """Keep the ids of some features, which become features 0, 1… in that order."""
        if len(positions) == self.num_features:
            return self
        slots = np.full(self.num_features, -1)
        slots[positions] = np.arange(len(positions))
        features = ops.cast(ops.take(slots, self.features), self.features.dtype)
        bags = replace(self, features=features)
        bags = bags.keep(bags.features >= 0)
        return replace(
            bags,
            features=ops.maximum(bags.features, 0),
            num_features=len(positions),
        )

    def sum(self, values: Any) -> Any:
        """Return sums of `values` `(n, dim)` over bags, `(batch, features, dim)`."""
        num_bags = self.num_rows * self.num_features
        bag_numbers = self.rows * self.num_features + self.features
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            sums = tf.math.unsorted_segment_sum(values, bag_numbers, num_bags)
        else:
            sums = ops.segment_sum(values, bag_numbers, num_bags)
        return ops.reshape(sums, (-1, self.num_features, values.shape[-1]))

    def combine(self, vectors: Any, combiner: str) -> Any:
        """Combine the vectors of each bag into one.

        Args:
            vectors: Vector of each id, `(n, dim)`.
            combiner: `sum`, `mean` or `sqrtn`.

        Returns:
            Tensor of shape `(batch, features, dim)`; zeros for an empty bag.
        """
        weights = self.weights
        if weights is None and combiner == "sum":
            return self.sum(vectors)
        if weights is None:
            weights = ops.ones_like(vectors[:, 0])
        weights = ops.expand_dims(ops.cast(weights, vectors.dtype), -1)
        sums = self.sum(vectors * weights)
        if combiner == "sum":
            return sums
        if combiner == "mean":
            sizes = self.sum(weights)
        else:
            sizes = ops.sqrt(self.sum(ops.square(weights)))
        is_empty = sizes == 0
        return ops.where(is_empty, 0, sums / ops.where(is_empty, 1, sizes))

    def _map(self, function: Any) -> "IdBags":
        return replace(
            self,
            ids=function(self.ids),
            features=function(self.features),
            rows=function(self.rows),
            weights=None if self.weights is None else function(self.weights),
        )


def _bag_numbers(ids: Any) -> Any:
    """Return the number of the bag of each ragged id, `(n,)`."""
    partition = ids.values._row_partition
    if not has_gpu() or partition._has_precomputed_value_rowids():
        return ids.values.value_rowids()
    import tensorflow as tf

    # TensorFlow would use int32, and copy several times on a GPU: see `id_dtype`.
    starts = ids.values.row_starts()
    marks = tf.zeros([tf.size(ids.flat_values) + 1], starts.dtype)
    marks = tf.tensor_scatter_nd_add(marks, starts[:, None], tf.ones_like(starts))
    return tf.cumsum(marks)[:-1] - 1


def _to_int64(ids: Any, feature: int) -> Any:
    """Return the ids of one feature as int64."""
    import tensorflow as tf

    ids = tf.convert_to_tensor(ids)
    if ids.shape.num_elements() != 0:  # an empty list became floats
        require_integers(ids.dtype, f"feature {feature}")
    return tf.cast(ids, tf.int64)
