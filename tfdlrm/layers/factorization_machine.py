"""The second-order term of a factorization machine."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfdlrm.layers._wide_sums import sum_dtype


@keras.saving.register_keras_serializable("tfdlrm")
class FactorizationMachine(keras.layers.Layer):
    """Sum of the dot products of every two of `n` vectors, in time linear in `n`.

    Twice that sum is the square of the sum of the vectors minus the sum of their
    squares, added up over components. Since the two nearly cancel, they are computed in
    float32 at least, even if the layer's dtype is narrower. Runs on every Keras
    backend.

    Call arguments:
        inputs: A list of `n` tensors of shape `(batch, dim)`, or one tensor of shape
            `(batch, n, dim)`.

    Returns:
        Tensor of shape `(batch, 1)`.

    Raises:
        ValueError: If the input is one tensor and its shape is not as above.

    Example:

    >>> import numpy as np
    >>> vectors = np.array([[[1.0, 0.0], [2.0, 3.0], [0.0, 5.0]]], "float32")
    >>> FactorizationMachine()(vectors).numpy().tolist()  # 2 + 0 + 15
    [[17.0]]

    Reference:
        [Rendle, 2010](https://doi.org/10.1109/ICDM.2010.127), lemma 3.1.
    """

    def call(self, inputs: Any) -> Any:
        vectors = inputs
        if isinstance(inputs, list | tuple):
            vectors = ops.stack(inputs, axis=1)
        if len(vectors.shape) != 3:
            raise ValueError(
                f"{self.name}: got one tensor of shape {tuple(vectors.shape)}, "
                "expected (batch, n, dim) or a list of tensors of shape (batch, dim)."
            )
        vectors = ops.cast(vectors, sum_dtype(self.compute_dtype))
        square_of_sum = ops.square(ops.sum(vectors, axis=1))  # (batch, dim)
        sum_of_squares = ops.sum(ops.square(vectors), axis=1)
        total = ops.sum(square_of_sum - sum_of_squares, axis=1, keepdims=True) / 2
        return ops.cast(total, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        is_list = isinstance(input_shape[0], Sequence)
        return (input_shape[0][0] if is_list else input_shape[0]), 1
