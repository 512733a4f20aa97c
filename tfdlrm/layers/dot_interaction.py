"""All pairwise dot products of a set of vectors, the core of a DLRM."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("tfdlrm")
class DotInteraction(keras.layers.Layer):
    """Dot products of every two of `n` vectors.

    The products come in the order of the reference implementation, the strict lower
    triangle of the matrix of products, row by row: (1, 0), (2, 0), (2, 1), (3, 0)…
    Runs on every Keras backend.

    Args:
        self_interaction: Whether to include the product of each vector with itself; the
            diagonal then ends each row: (0, 0), (1, 0), (1, 1), (2, 0)…

    Call arguments:
        inputs: A list of `n` tensors of shape `(batch, dim)`, or one tensor of shape
            `(batch, n, dim)`.
        training: Whether this is a training step; on TensorFlow XLA then compiles the
            products, once for each batch size.

    Returns:
        Tensor of shape `(batch, pairs)`, with `pairs` being `n * (n - 1) / 2`, or
        `n * (n + 1) / 2` with self-interaction.

    Raises:
        ValueError: If the shapes are not as above, there is no pair, or there are more
            or fewer vectors than the layer was built for.

    Example:

    >>> import numpy as np
    >>> vectors = np.array([[[1.0, 0.0], [2.0, 3.0], [0.0, 5.0]]], "float32")
    >>> DotInteraction()(vectors).numpy().tolist()
    [[2.0, 0.0, 15.0]]

    Reference:
        [Naumov et al., 2019](https://arxiv.org/abs/1906.00091), section 2.1.4.
    """

    def __init__(self, self_interaction: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.self_interaction = self_interaction

    def build(self, input_shape: Any) -> None:
        num_vectors = _stacked_shape(input_shape)[1]
        if num_vectors is None:
            raise ValueError(
                f"{self.name}: the number of vectors must be known; got the input "
                f"shape {input_shape}, expected (batch, n, dim) with a fixed n."
            )
        if num_vectors < 2 and not self.self_interaction:
            raise ValueError(
                f"{self.name}: got {num_vectors} vector, expected at least 2; with "
                "self_interaction=True one is enough."
            )
        self._num_vectors = num_vectors
        rows, columns = np.tril_indices(num_vectors, 0 if self.self_interaction else -1)
        self._pairs = rows * num_vectors + columns  # positions in the flattened matrix
        if keras.backend.backend() == "tensorflow":
            from tfdlrm.layers._compiled_pairs import compile_pairs

            self._compiled_pairs = compile_pairs(num_vectors, self._pairs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        vectors = inputs
        if isinstance(inputs, list | tuple):
            vectors = ops.stack(inputs, axis=1)  # (batch, n, dim)
        self._check_number(vectors.shape[1], vectors.shape)
        if training and keras.backend.backend() == "tensorflow":
            return self._compiled_pairs(vectors)
        products = ops.matmul(vectors, ops.transpose(vectors, (0, 2, 1)))
        flat = ops.reshape(products, (-1, self._num_vectors**2))
        return ops.take(flat, self._pairs, axis=1)  # (batch, pairs)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        batch, n, _ = _stacked_shape(input_shape)
        if self.built:
            self._check_number(n, input_shape)
        return batch, n * (n + 1 if self.self_interaction else n - 1) // 2

    def _check_number(self, number: int | None, shape: Any) -> None:
        if number != self._num_vectors:
            raise ValueError(
                f"{self.name}: got vectors of shape {tuple(shape)}, expected "
                f"(batch, {self._num_vectors}, dim): it was built for "
                f"{self._num_vectors} vectors."
            )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "self_interaction": self.self_interaction}


def _stacked_shape(input_shape: Any) -> tuple[int | None, int, int | None]:
    """Return `(batch, n, dim)` for both forms of input."""
    if input_shape and isinstance(input_shape[0], Sequence):
        shapes = [tuple(shape) for shape in input_shape]
        if any(len(shape) != 2 for shape in shapes):
            raise ValueError(f"Got a list of shapes {shapes}, expected (batch, dim).")
        dims = {shape[1] for shape in shapes}
        if len(dims) != 1:
            raise ValueError(
                f"Vectors have different widths {sorted(dims)}: expected one width. "
                "Project them to a common one first."
            )
        return shapes[0][0], len(shapes), dims.pop()
    if len(input_shape) != 3:
        raise ValueError(
            f"Got one tensor of shape {tuple(input_shape)}, expected (batch, n, dim) "
            "or a list of tensors of shape (batch, dim)."
        )
    return tuple(input_shape)
