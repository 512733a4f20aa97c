"""Vectors for continuous features, next to the embeddings of categorical ones."""

from typing import Any

import keras
from keras import ops

from tfdlrm.layers._wide_sums import sum_dtype


@keras.saving.register_keras_serializable("tfdlrm")
class DenseVectors(keras.layers.Layer):
    """A learned vector for each continuous feature, multiplied by its value.

    Continuous features can then interact with categorical ones, as in a factorization
    machine. Runs on every Keras backend.

    Args:
        dim: Width of the vectors.
        initial_bound: Initial vectors are uniform between minus and plus this.

    Call arguments:
        values: Float tensor of shape `(batch, features)`.

    Returns:
        Tensor of shape `(batch, features, dim)`.

    Raises:
        ValueError: If `dim` is below 1, or `values` has another number of features than
            the layer was built for.

    Example:

    >>> import numpy as np
    >>> DenseVectors(dim=4)(np.ones((2, 13), "float32")).shape.as_list()
    [2, 13, 4]

    Reference:
        [Rendle, 2010](https://doi.org/10.1109/ICDM.2010.127), equation 1, where a
        feature has one vector for all its values.
    """

    def __init__(self, dim: int, initial_bound: float = 0.01, **kwargs: Any) -> None:
        # `call` casts instead: with weights of 16 bits, gradients of a batch would be
        # added up in 16 bits.
        super().__init__(autocast=False, **kwargs)
        if dim < 1:
            raise ValueError(f"dim is {dim}: expected a width >= 1.")
        self.dim = dim
        self.initial_bound = initial_bound

    def build(self, values_shape: Any) -> None:
        self.vectors = self.add_weight(
            name="vectors",
            shape=(values_shape[-1], self.dim),
            initializer=keras.initializers.RandomUniform(
                -self.initial_bound, self.initial_bound
            ),
        )

    def call(self, values: Any) -> Any:
        num_features = self.vectors.shape[0]
        if len(values.shape) != 2 or values.shape[1] != num_features:
            raise ValueError(
                f"{self.name}: values have shape {tuple(values.shape)}, expected "
                f"(batch, {num_features}): it was built for {num_features} features."
            )
        dtype = sum_dtype(self.compute_dtype)
        values = ops.expand_dims(ops.cast(values, dtype), -1)
        products = values * ops.cast(self.vectors, dtype)  # (batch, features, dim)
        return ops.cast(products, self.compute_dtype)

    def compute_output_shape(self, values_shape: Any) -> tuple[int | None, int, int]:
        return values_shape[0], values_shape[1], self.dim

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "dim": self.dim,
            "initial_bound": self.initial_bound,
        }
