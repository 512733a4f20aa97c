"""Embedding tables of one width, stacked in one variable."""

import uuid
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfdlrm.layers._devices import id_dtype
from tfdlrm.layers._wide_sums import sum_dtype
from tfdlrm.layers.table_placement import current_placement

CHUNK_ROWS = 1 << 15
"""Rows initialised at once, so that a new table takes little memory but its own.

With pieces of megabytes the allocator keeps 70 MB that are free again.
"""


def row_dtype(num_rows: int, dim: int) -> str:
    """Return the narrowest type of row numbers that reaches every row of a table.

    On GPUs TensorFlow computes `row * dim` in the type of the row numbers (2.17:
    `scatter_functor_gpu.cu.h`, `gather_functor_gpu.cu.h`), so that int32 reads and
    writes wrong rows once a table has 2³¹ numbers. Narrow types are sorted and hashed
    faster.

    Args:
        num_rows: Rows of the table.
        dim: Numbers in a row.

    Example:

    >>> row_dtype(2**25, 63), row_dtype(2**25, 64)
    ('int32', 'int64')
    """
    return "int32" if num_rows * dim < 2**31 else "int64"


@keras.saving.register_keras_serializable("tfdlrm")
class TableUniform(keras.initializers.Initializer):
    """Uniform values in ±bound for each of several stacked tables.

    Args:
        num_rows: Rows of each table.
        bounds: Bound of each table.
        seed: Seed; `None` draws a random one.
    """

    def __init__(
        self,
        num_rows: Sequence[int],
        bounds: Sequence[float],
        seed: int | None = None,
    ) -> None:
        self.num_rows = list(num_rows)
        self.bounds = list(bounds)
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Any:
        pieces = self.pieces(shape[1], dtype)
        if keras.backend.backend() != "tensorflow":
            return ops.concatenate([values for _, values in pieces], axis=0)
        import tensorflow as tf

        # A concatenation would hold the whole table twice, so the pieces are written in
        # place; into a bare resource, since a distribution strategy would copy a
        # variable to every device.
        table = tf.raw_ops.VarHandleOp(
            dtype=dtype, shape=shape, shared_name=f"table_{uuid.uuid4()}"
        )
        tf.raw_ops.AssignVariableOp(resource=table, value=tf.zeros(shape, dtype))
        for start, values in pieces:
            rows = tf.range(start, start + values.shape[0], dtype=tf.int64)
            tf.raw_ops.ResourceScatterUpdate(
                resource=table, indices=rows, updates=values
            )
        tf.raw_ops.DisableCopyOnRead(resource=table)
        filled = tf.raw_ops.ReadVariableOp(resource=table, dtype=dtype)
        tf.raw_ops.DestroyResourceOp(resource=table)
        return filled

    def pieces(self, dim: int, dtype: str | None) -> Any:
        """Yield pairs of a first row and the values from that row on."""
        start = 0
        for num_rows, bound in zip(self.num_rows, self.bounds, strict=True):
            for offset in range(0, num_rows, CHUNK_ROWS):
                shape = (min(CHUNK_ROWS, num_rows - offset), dim)
                yield (
                    start + offset,
                    keras.random.uniform(
                        shape, -bound, bound, dtype=dtype, seed=self._generator
                    ),
                )
            start += num_rows

    def get_config(self) -> dict[str, Any]:
        return {"num_rows": self.num_rows, "bounds": self.bounds, "seed": self.seed}


class FusedTables(keras.layers.Layer):
    """Look up the vectors of all features of one width in one gather.

    Args:
        vocabulary_sizes: Number of ids of each feature.
        dim: Width of the vectors.
        num_collisions: `None` for one row for each id; otherwise the quotient-remainder
            trick: an id's vector is the product of row `id // num_collisions` of one
            table and row `id % num_collisions` of another.
        initial_bound: Initial vectors are uniform between minus and plus this; `None`
            means `1 / sqrt(vocabulary size)` of each feature.

    Call arguments:
        ids: Integer tensor of any shape, every id within its feature's vocabulary.
        features: The position of the feature of each id, broadcastable to `ids`; a
            NumPy array, or a tensor.
        in_sums: Whether the caller adds the vectors up. They are then float32 if the
            compute dtype has 16 bits, in which a sum of ones stops at 256 or 2,048.

    Returns:
        Tensor of shape `(*ids.shape, dim)`.

    Reference:
        Initial values: `create_emb` of github.com/facebookresearch/dlrm. Quotient and
        remainder: [Shi et al., 2019](https://arxiv.org/abs/1909.02107), section 3.
    """

    def __init__(
        self,
        vocabulary_sizes: Sequence[int],
        dim: int,
        num_collisions: int | None = None,
        initial_bound: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.vocabulary_sizes = list(vocabulary_sizes)
        self.dim = dim
        self.num_collisions = num_collisions
        bounds = [1 / np.sqrt(size) for size in vocabulary_sizes]
        if initial_bound is not None:
            bounds = [initial_bound] * len(vocabulary_sizes)
        num_rows = self.vocabulary_sizes
        if num_collisions is not None:
            num_rows = [-(-size // num_collisions) for size in vocabulary_sizes]
            # Remainders follow the quotients; with variance 1 the product has the
            # variance of an ordinary table.
            num_rows = num_rows + [num_collisions] * len(vocabulary_sizes)
            bounds = bounds + [np.sqrt(3)] * len(vocabulary_sizes)
        self.starts = np.cumsum([0, *num_rows], dtype=np.int64)
        self._index_dtype = row_dtype(int(self.starts[-1]), dim)
        if self._index_dtype == "int32":
            self._index_dtype = id_dtype()
        self._placed: Any = None
        self._initializer = TableUniform(num_rows, [float(bound) for bound in bounds])
        self.build()

    def build(self, input_shape: Any = None) -> None:
        placement = current_placement()
        if placement is None:
            shape = int(self.starts[-1]), self.dim
            self.tables = [self._add_table(shape, self._initializer)]
        else:
            from tfdlrm.layers._placed_tables import PlacedTables

            self._placed = PlacedTables(
                self._initializer.num_rows, self.dim, placement, self._add_table
            )
            self.tables = self._placed.variables
            self._placed.fill(self._initializer.pieces(self.dim, self.variable_dtype))
        self.built = True

    def _add_table(self, shape: tuple[int, int], initializer: Any = "zeros") -> Any:
        table = self.add_weight(name="table", shape=shape, initializer=initializer)
        table.is_embedding_table = True  # see `optimizers.RowWiseAdagrad`
        return table

    def call(self, ids: Any, features: Any, in_sums: bool = False) -> Any:
        dtype = sum_dtype(self.compute_dtype) if in_sums else self.compute_dtype
        ids = ops.cast(ids, self._index_dtype)
        if self.num_collisions is None:
            return self._gather(ids + self._first_row(features), dtype)
        quotients = ids // self.num_collisions + self._first_row(features)
        remainders = ids % self.num_collisions + self._first_row(
            features + len(self.vocabulary_sizes)
        )
        factors = self._gather(ops.stack([quotients, remainders]), dtype)
        return factors[0] * factors[1]

    def _first_row(self, features: Any) -> Any:
        """Return the row at which the table of each feature begins."""
        starts = self.starts.astype(self._index_dtype)
        if isinstance(features, np.ndarray):
            return ops.convert_to_tensor(starts[features])
        return ops.take(starts, features)

    def _gather(self, rows: Any, dtype: str) -> Any:
        return ops.cast(self.read_rows(rows), dtype)

    def read_rows(self, rows: Any) -> Any:
        """Return some rows of the tables, `(*rows.shape, dim)`."""
        if self._placed is not None:
            return self._placed.gather(rows, self.compute_dtype)
        if keras.backend.backend() != "tensorflow":
            return ops.take(self.tables[0], rows, axis=0)
        import tensorflow as tf

        from tfdlrm.layers._table_rows import own_copy

        # The variable itself, not its value: a resource gather reads these rows and no
        # others.
        return tf.nn.embedding_lookup(own_copy(self.tables[0].value), rows)

    def join(self) -> None:
        """Look up as in an ordinary table; allowed if there is a single shard."""
        self._placed = None


def join_tables(model: keras.Model) -> bool:
    """Let a model look up as in ordinary tables if each lies on one device.

    Returns:
        Whether each does; otherwise nothing is changed.
    """
    layers = [
        layer for layer in model._flatten_layers() if isinstance(layer, FusedTables)
    ]
    if any(len(layer.tables) > 1 for layer in layers):
        return False
    for layer in layers:
        layer.join()
    return True
