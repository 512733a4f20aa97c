"""The linear part of a model: a weight for each dense feature and each id."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfdlrm.layers._wide_sums import sum_dtype
from tfdlrm.layers.embedding_collection import EmbeddingCollection


@keras.saving.register_keras_serializable("tfdlrm")
class LinearTerms(keras.layers.Layer):
    """A bias, a weight for each dense feature and one for each id of a row, added up.

    By itself it returns the logits of a logistic regression. All weights start at 0.

    Args:
        vocabulary_sizes: Number of ids of each categorical feature; empty if there are
            none.
        feature_names: Name of each categorical feature, for ids in a dictionary.

    Call arguments:
        dense_features: Float tensor of shape `(batch, n)`; `n` may be 0.
        categorical_features: Ids in any form that `EmbeddingCollection` takes; ignored
            if there are no vocabularies.

    Returns:
        Tensor of shape `(batch, 1)`.

    Raises:
        ValueError: If there are no features at all, or another number of dense ones
            than the layer was built for.

    Example:

    >>> import numpy as np
    >>> layer = LinearTerms(vocabulary_sizes=[10, 4])
    >>> layer(np.ones((2, 3), "float32"), np.array([[9, 3], [0, 0]])).numpy().tolist()
    [[0.0], [0.0]]

    Reference:
        [Rendle, 2010](https://doi.org/10.1109/ICDM.2010.127), the first two terms of
        equation 1.
    """

    def __init__(
        self,
        vocabulary_sizes: Sequence[int],
        feature_names: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        # `call` casts the dense features; ids must stay integers.
        super().__init__(autocast=False, **kwargs)
        self.vocabulary_sizes = [int(size) for size in vocabulary_sizes]
        self.id_weights = None
        if self.vocabulary_sizes:
            self.id_weights = EmbeddingCollection(
                self.vocabulary_sizes,
                embedding_dim=1,
                initial_bound=0.0,
                feature_names=feature_names,
                dtype=self.dtype_policy,
                name="id_weights",
            )

    @property
    def feature_names(self) -> list[str] | None:
        """Return the names of the categorical features, if they have any."""
        return None if self.id_weights is None else self.id_weights.feature_names

    @feature_names.setter
    def feature_names(self, names: list[str] | None) -> None:
        if self.id_weights is not None:
            self.id_weights.feature_names = names

    def build(
        self, dense_features_shape: Any, categorical_features_shape: Any = None
    ) -> None:
        self._num_dense = num_dense = dense_features_shape[-1]
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
        shape = dense_features.shape
        if len(shape) != 2 or shape[1] != self._num_dense:
            raise ValueError(
                f"{self.name}: dense_features have shape "
                f"{tuple(shape)}, expected (batch, {self._num_dense}): "
                f"it was built for {self._num_dense} features."
            )
        dtype = sum_dtype(self.compute_dtype)
        total = ops.cast(self.bias, dtype)
        if self._num_dense:
            dense = ops.cast(dense_features, dtype)
            total = total + ops.matmul(dense, ops.cast(self.dense_weights, dtype))
        if self.id_weights is not None:
            weights = ops.cast(self.id_weights(categorical_features), dtype)
            total = total + ops.sum(weights, axis=1)
        return ops.cast(total, self.compute_dtype)  # (batch, 1)

    def compute_output_shape(
        self, dense_features_shape: Any, categorical_features_shape: Any = None
    ) -> tuple[int | None, int]:
        return dense_features_shape[0], 1

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = {"vocabulary_sizes": [*self.vocabulary_sizes]}
        names = self.feature_names
        if names is not None:
            config["feature_names"] = [*names]
        return {**super().get_config(), **config}
