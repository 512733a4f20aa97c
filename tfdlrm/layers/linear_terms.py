"""The linear part of a model: a weight for everything that a row holds."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfdlrm.layers.embedding_collection import EmbeddingCollection


@keras.saving.register_keras_serializable("tfdlrm")
class LinearTerms(keras.layers.Layer):
    """A bias, a weight for each dense feature and one for each id of a row, added up.

    Alone it gives the logits of a logistic regression. All weights start at 0.

    Args:
        vocabulary_sizes: Number of ids of each categorical feature; may be empty.

    Call arguments:
        dense_features: Float tensor of shape `(batch, n)`; `n` may be 0.
        categorical_features: Ids in any form that `EmbeddingCollection` takes; not
            looked at where there are no vocabularies.

    Returns:
        Tensor of shape `(batch, 1)`.

    Raises:
        ValueError: If there is no feature of either kind.

    Example:

    >>> import numpy as np
    >>> layer = LinearTerms(vocabulary_sizes=[10, 4])
    >>> layer(np.ones((2, 3), "float32"), np.array([[9, 3], [0, 0]])).numpy().tolist()
    [[0.0], [0.0]]

    Reference:
        [Rendle, 2010](https://doi.org/10.1109/ICDM.2010.127), the first two terms of
        equation 1.
    """

    def __init__(self, vocabulary_sizes: Sequence[int], **kwargs: Any) -> None:
        # Ids must come as they are; `call` casts the rest.
        super().__init__(autocast=False, **kwargs)
        self.vocabulary_sizes = [int(size) for size in vocabulary_sizes]
        self.id_weights = None
        if self.vocabulary_sizes:
            self.id_weights = EmbeddingCollection(
                self.vocabulary_sizes,
                embedding_dim=1,
                initial_bound=0.0,
                dtype=self.dtype_policy,
                name="id_weights",
            )

    def build(
        self, dense_features_shape: Any, categorical_features_shape: Any = None
    ) -> None:
        num_dense = dense_features_shape[-1]
        if not num_dense and self.id_weights is None:
            raise ValueError(f"{self.name}: got no features, expected at least one.")
        self.bias = self.add_weight(name="bias", shape=(1,), initializer="zeros")
        if num_dense:
            self.dense_weights = self.add_weight(
                name="dense_weights", shape=(num_dense, 1), initializer="zeros"
            )
        if self.id_weights is not None:
            self.id_weights.build(categorical_features_shape)

    def call(self, dense_features: Any, categorical_features: Any = None) -> Any:
        dense = ops.cast(dense_features, self.compute_dtype)
        total = ops.cast(self.bias, self.compute_dtype)
        if dense.shape[-1]:
            weights = ops.cast(self.dense_weights, self.compute_dtype)
            total = total + ops.matmul(dense, weights)
        if self.id_weights is not None:
            total = total + ops.sum(self.id_weights(categorical_features), axis=1)
        return total  # (batch, 1)

    def compute_output_shape(
        self, dense_features_shape: Any, categorical_features_shape: Any = None
    ) -> tuple[int | None, int]:
        return dense_features_shape[0], 1

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "vocabulary_sizes": self.vocabulary_sizes}
