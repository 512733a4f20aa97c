"""Vectors for the buckets that values of continuous features fall in."""

from typing import Any

import keras
from keras import ops

from tfdlrm.layers._devices import id_dtype
from tfdlrm.layers.embedding_collection import EmbeddingCollection


@keras.saving.register_keras_serializable("tfdlrm")
class BucketVectors(keras.layers.Layer):
    """A learned vector for each bucket of each continuous feature.

    A bottom MLP has to bend one curve for all values of a feature. Here every bucket
    has a vector of its own, as every id of a categorical feature has. Buckets are
    equally wide, so that none has to be computed from the data; with values log(x + 1)
    of a count x they are narrow for small counts. Values below the lowest bucket fall
    in the lowest, values above the highest in the highest.

    Args:
        dim: Width of the vectors.
        bucket_width: Width of a bucket.
        num_buckets: Buckets of each feature, half of them for values below 0.
        initial_bound: Initial vectors are uniform between minus and plus this.

    Call arguments:
        values: Float tensor of shape `(batch, features)`.

    Returns:
        Tensor of shape `(batch, features, dim)`.

    Raises:
        ValueError: If there are fewer than two buckets or their width is not above 0,
            or `values` is not `(batch, features)` with a fixed number of features.

    Example:

    >>> import numpy as np
    >>> vectors = BucketVectors(dim=4, bucket_width=0.5)(np.array([[0.1, 0.4, 0.6]]))
    >>> vectors.shape.as_list()
    [1, 3, 4]

    Reference:
        [Guo et al., 2020](https://arxiv.org/abs/2012.08986), where it is called
        discretization.
    """

    def __init__(
        self,
        dim: int,
        bucket_width: float = 0.5,
        num_buckets: int = 80,
        initial_bound: float = 0.01,
        **kwargs: Any,
    ) -> None:
        # Values keep their full precision, which decides the bucket.
        super().__init__(autocast=False, **kwargs)
        if bucket_width <= 0 or num_buckets < 2:
            raise ValueError(
                f"Got bucket_width={bucket_width} and num_buckets={num_buckets}: "
                "expected a width > 0 and two or more."
            )
        self.dim = dim
        self.bucket_width = bucket_width
        self.num_buckets = num_buckets
        self.initial_bound = initial_bound
        self._quantized_tables: tuple[str, ...] = ()

    def build(self, values_shape: Any) -> None:
        num_features = values_shape[-1]
        if num_features is None:
            raise ValueError(
                f"{self.name}: values have shape {tuple(values_shape)}, expected "
                "(batch, features) with a fixed number of features."
            )
        self.embeddings = EmbeddingCollection(
            [self.num_buckets] * num_features,
            self.dim,
            initial_bound=self.initial_bound,
            dtype=self.dtype_policy,
            name="embeddings",
        )
        self.embeddings.quantized_tables = self._quantized_tables
        self.embeddings.build((None, num_features))

    def call(self, values: Any) -> Any:
        if len(values.shape) != 2:
            raise ValueError(
                f"{self.name}: values have shape {tuple(values.shape)}, expected "
                "(batch, features)."
            )
        if "int" in keras.backend.standardize_dtype(values.dtype):
            values = ops.cast(values, "float32")
        buckets = ops.floor(values / self.bucket_width) + self.num_buckets // 2
        buckets = ops.clip(buckets, 0, self.num_buckets - 1)
        return self.embeddings(ops.cast(buckets, id_dtype()))  # (batch, features, dim)

    def compute_output_shape(self, values_shape: Any) -> tuple[int | None, int, int]:
        return values_shape[0], values_shape[1], self.dim

    def get_config(self) -> dict[str, Any]:
        config = {
            **super().get_config(),
            "dim": self.dim,
            "bucket_width": self.bucket_width,
            "num_buckets": self.num_buckets,
            "initial_bound": self.initial_bound,
        }
        quantized = self._quantized_tables
        if self.built:
            quantized = self.embeddings.quantized_tables
        return {**config, "quantized_tables": [*quantized]} if quantized else config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "BucketVectors":
        config = dict(config)
        quantized = config.pop("quantized_tables", ())
        layer = cls(**config)
        layer._quantized_tables = tuple(quantized)
        return layer
