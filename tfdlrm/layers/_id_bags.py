"""Multi-hot ids, in whatever form they come, as one flat sequence."""

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
    """The ids of a batch, each with the place that it belongs to.

    Args:
        ids: Shape `(n,)`.
        features: Position of each id's feature, shape `(n,)`.
        rows: Row of the batch of each id, shape `(n,)`.
        num_rows: Rows of the batch.
        num_features: Number of features.
        weights: Weight of each id, shape `(n,)`, or `None` where all are 1.
    """

    ids: Any
    features: Any
    rows: Any
    num_rows: Any
    num_features: int
    weights: Any

    @classmethod
    def of_padded(cls, ids: Any, weights: Any, num_features: int) -> "IdBags":
        """From ids `(batch, features, width)`; negative ones are no ids.

        With weights also from one id a bag, `(batch, features)`.
        """
        if weights is not None:
            weights = ops.reshape(dense_weights(ids, weights), [-1])
        if len(ids.shape) == 2:
            ids = ids[..., None]
        if keras.backend.standardize_dtype(ids.dtype) == "int32":
            ids = ops.cast(ids, id_dtype())
        num_rows, _, width = ops.shape(ids)
        numbers = ops.arange(num_rows * num_features * width, dtype=id_dtype())
        bag = numbers // ops.cast(width, id_dtype())
        bags = cls(
            ids=ops.reshape(ids, [-1]),
            features=bag % num_features,
            rows=bag // num_features,
            num_rows=num_rows,
            num_features=num_features,
            weights=weights,
        )
        return bags.keep(bags.ids >= 0)

    @classmethod
    def of_ragged(cls, ids: Any, weights: Any, num_features: int) -> "IdBags":
        """From a `tf.RaggedTensor` of shape `(batch, features, None)`."""
        import tensorflow as tf

        if ids.shape.rank != 3 or ids.ragged_rank != 2:
            raise ValueError(
                f"Got ragged ids of shape {ids.shape} and ragged rank "
                f"{ids.ragged_rank}, expected (batch, features, None) and 2."
            )
        if has_gpu():
            ids = ids.with_row_splits_dtype(tf.int64)  # see `id_dtype`
        if ids.uniform_row_length is not None and ids.shape[1] == num_features:
            bag = _bag_of_each(ids)
        else:
            message = f"each row of ragged ids must have {num_features} features"
            wanted = tf.cast(num_features, ids.row_splits.dtype)
            check = tf.debugging.assert_equal(ids.row_lengths(), wanted, message)
            with tf.control_dependencies([check] if check is not None else []):
                bag = tf.identity(_bag_of_each(ids))
        return cls(
            ids=ids.flat_values,
            features=bag % num_features,
            rows=bag // num_features,
            num_rows=ids.nrows(),
            num_features=num_features,
            weights=None if weights is None else ragged_weights(ids, weights),
        )

    @classmethod
    def of_indices_and_offsets(
        cls, pair: Sequence[Any], weights: Any, num_features: int
    ) -> "IdBags":
        """From each feature's ids in one sequence, and where in it bags begin."""
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
            tf.RaggedTensor.from_row_starts(_as_integers(ids, f), starts)
            for f, (ids, starts) in enumerate(
                zip(indices, tf.unstack(offsets), strict=True)
            )
        ]
        features = [tf.fill([tf.size(r.values)], f) for f, r in enumerate(ragged)]
        return cls(
            ids=tf.concat([bags.values for bags in ragged], axis=0),
            features=tf.cast(tf.concat(features, axis=0), tf.int64),
            rows=tf.concat([bags.value_rowids() for bags in ragged], axis=0),
            num_rows=tf.shape(offsets)[1],
            num_features=num_features,
            weights=None if weights is None else listed_weights(indices, weights),
        )

    def keep(self, mask: Any) -> "IdBags":
        """The ids where `mask` is true."""
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            return self._mapped(lambda values: tf.boolean_mask(values, mask))
        # Elsewhere shapes are fixed: the others stay, as id 0 with weight 0.
        weights = ops.cast(mask, "float32")
        if self.weights is not None:
            weights = weights * self.weights
        return replace(self, ids=ops.where(mask, self.ids, 0), weights=weights)

    def of_features(self, positions: np.ndarray) -> "IdBags":
        """The ids of some features, which are then features 0, 1… in that order."""
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
        """Sums of `values` `(n, dim)` over bags, `(batch, features, dim)`."""
        num_bags = self.num_rows * self.num_features
        bag = self.rows * self.num_features + self.features
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            sums = tf.math.unsorted_segment_sum(values, bag, num_bags)
        else:
            sums = ops.segment_sum(values, bag, num_bags)
        return ops.reshape(sums, (-1, self.num_features, values.shape[-1]))

    def _mapped(self, function: Any) -> "IdBags":
        return replace(
            self,
            ids=function(self.ids),
            features=function(self.features),
            rows=function(self.rows),
            weights=None if self.weights is None else function(self.weights),
        )


def _bag_of_each(ids: Any) -> Any:
    """The number of the bag of each of ragged ids, `(n,)`."""
    partition = ids.values._row_partition
    if not has_gpu() or partition._has_precomputed_value_rowids():
        return ids.values.value_rowids()
    import tensorflow as tf

    # TensorFlow would use int32, and on a GPU several copies: see `id_dtype`.
    starts = ids.values.row_starts()
    marks = tf.zeros([tf.size(ids.flat_values) + 1], starts.dtype)
    marks = tf.tensor_scatter_nd_add(marks, starts[:, None], tf.ones_like(starts))
    return tf.cumsum(marks)[:-1] - 1


def _as_integers(ids: Any, feature: int) -> Any:
    """One feature's ids as int64."""
    import tensorflow as tf

    ids = tf.convert_to_tensor(ids)
    if ids.shape.num_elements() != 0:  # an empty list has come as floats
        require_integers(ids.dtype, f"feature {feature}")
    return tf.cast(ids, tf.int64)
