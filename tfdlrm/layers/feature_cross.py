"""The cross layer of Deep & Cross networks, versions 1 and 2."""

from typing import Any, Literal

import keras
from keras import ops

from tfdlrm.layers._id_forms import can_be_equal
from tfdlrm.layers._wide_sums import sum_dtype


@keras.saving.register_keras_serializable("tfdlrm")
class FeatureCross(keras.layers.Layer):
    """A layer that crosses a vector with the first features of a network.

    From the first features `x0` and the output `x` of the previous cross layer, the
    `matrix` form of version 2 computes `x0 * (W x + b) + x`, and the `vector` form of
    version 1 computes `x0 (w · x) + b + x`. The product raises the degree of `x` in the
    features by one, and the last term keeps the lower degrees. Runs on every Keras
    backend.

    Kernels start as N(0, sqrt(2 / inputs)), biases at 0.

    Args:
        form: `matrix` or `vector`.
        rank: For the matrix form, `W = U V` with `U` `(dim, rank)` and `V`
            `(rank, dim)`; `None` means a matrix of full rank.

    Call arguments:
        x0: Float tensor of shape `(batch, dim)`.
        x: Another tensor of that shape; `None` means `x0`, as in a first layer.

    Returns:
        Tensor of shape `(batch, dim)`.

    Raises:
        ValueError: If the form or the rank is impossible, or the shapes differ from
            each other or from the shape that the layer was built for.

    Example:

    >>> import numpy as np
    >>> features = np.ones((4, 8), "float32")
    >>> crossed = FeatureCross(rank=2)(features)
    >>> FeatureCross(rank=2)(features, crossed).shape.as_list()
    [4, 8]

    Reference:
        Vector: [Wang et al., 2017](https://arxiv.org/abs/1708.05123), section 2.2.
        Matrix: [Wang et al., 2020](https://arxiv.org/abs/2008.13535), sections 3.2, 4.1
        and, for the initial values, 7.1.
    """

    def __init__(
        self,
        form: Literal["matrix", "vector"] = "matrix",
        rank: int | None = None,
        **kwargs: Any,
    ) -> None:
        # `call` casts instead: with a bias of 16 bits, gradients of a batch would be
        # added up in 16 bits.
        super().__init__(autocast=False, **kwargs)
        if form not in ("matrix", "vector"):
            raise ValueError(f"form is {form!r}: expected 'matrix' or 'vector'.")
        if rank is not None and (form == "vector" or rank < 1):
            raise ValueError(
                f"rank is {rank} with the {form} form: expected at least 1 with the "
                "matrix form, or None."
            )
        self.form = form
        self.rank = rank

    def build(self, x0_shape: Any, x_shape: Any = None) -> None:
        dim = x0_shape[-1]
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: dim})
        # The last kernel multiplies `x`, or its projection.
        shapes = {"kernel": (dim, 1 if self.form == "vector" else dim)}
        if self.rank is not None:
            shapes = {"projection": (dim, self.rank), "kernel": (self.rank, dim)}
        self.kernels = [
            self.add_weight(name=name, shape=shape, initializer=_he_normal())
            for name, shape in shapes.items()
        ]
        self.bias = self.add_weight(name="bias", shape=(dim,), initializer="zeros")

    def call(self, x0: Any, x: Any = None) -> Any:
        x = x0 if x is None else x
        if not can_be_equal(x.shape, x0.shape):
            raise ValueError(
                f"{self.name}: got x0 of shape {tuple(x0.shape)} and x of shape "
                f"{tuple(x.shape)}, expected the same."
            )
        x0, x = (ops.cast(values, self.compute_dtype) for values in (x0, x))
        product = x
        for kernel in self.kernels:  # (batch, dim), or (batch, 1)
            product = ops.matmul(product, ops.cast(kernel, self.compute_dtype))
        if self.form == "vector":
            return self._add_bias(x0 * product + x)
        return x0 * self._add_bias(product) + x

    def _add_bias(self, values: Any) -> Any:
        dtype = sum_dtype(self.compute_dtype)
        sums = ops.cast(values, dtype) + ops.cast(self.bias, dtype)
        return ops.cast(sums, self.compute_dtype)

    def compute_output_shape(self, x0_shape: Any, x_shape: Any = None) -> Any:
        return x0_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "form": self.form, "rank": self.rank}


def _he_normal() -> keras.initializers.Initializer:
    return keras.initializers.VarianceScaling(
        scale=2.0, mode="fan_in", distribution="untruncated_normal"
    )
