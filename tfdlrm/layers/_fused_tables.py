"""Embedding tables of one width, stacked in one variable."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfdlrm.layers._devices import id_dtype
from tfdlrm.layers._int8_rows import Int8Rows, use_int8
from tfdlrm.layers._table_values import StackedTables, TableByTable, TableUniform
from tfdlrm.layers._wide_sums import sum_dtype
from tfdlrm.layers.table_placement import current_placement


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
        initializer: Initializer of each table, instead of uniform values.

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
        initializer: keras.initializers.Initializer | None = None,
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
        self._initializer: StackedTables = TableUniform(
            num_rows, [float(bound) for bound in bounds]
        )
        if initializer is not None:
            self._initializer = TableByTable(num_rows, initializer)
        self._int8: Int8Rows | None = None
        self.build()

    def build(self, input_shape: Any = None) -> None:
        placement = current_placement()
        shape = int(self.starts[-1]), self.dim
        if self.quantization_mode is not None and self.dim > 1:
            self._int8 = Int8Rows(self, shape)
            self._is_quantized = True
            self.tables = [self._int8.rows]
        elif placement is None:
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
        rows = self.rows_of(ids, features)
        if self.num_collisions is None:
            return self._gather(rows, dtype)
        factors = self._gather(rows, dtype)
        return factors[0] * factors[1]

    def rows_of(self, ids: Any, features: Any) -> Any:
        """Return the fused row of each id, or its two rows `(2, *ids.shape)`.

        Args:
            ids: Integer tensor of any shape, every id within its feature's vocabulary.
            features: The position of the feature of each id.
        """
        ids = ops.cast(ids, self._index_dtype)
        if self.num_collisions is None:
            return ids + self._first_row(features)
        quotients = ids // self.num_collisions + self._first_row(features)
        remainders = ids % self.num_collisions + self._first_row(
            features + len(self.vocabulary_sizes)
        )
        return ops.stack([quotients, remainders])

    # Keras quantizes a model layer by layer, and then calls `quantized_call`.
    quantized_call = call

    def quantize(
        self, mode: str | None = None, type_check: bool = True, config: Any = None
    ) -> None:
        """Replace the table by 8-bit numbers, one scale a row, as Keras' `Embedding`.

        Vectors of one number stay as they are: with a scale they would grow.

        Args:
            mode: `int8`.
            type_check: Unused; Keras passes it.
            config: Unused; a scale is always the largest number of a row over 127.

        Raises:
            ValueError: If the rows lie on several devices.
            NotImplementedError: For another mode; Keras warns and leaves the layer.
        """
        if mode != "int8":
            raise NotImplementedError(
                f"{self.name}: the mode is {mode}, embedding tables know int8 only: "
                "they stay as they are."
            )
        if self._placed is not None:
            raise ValueError(
                f"{self.name}: the rows lie on devices of their own, expected an "
                "ordinary table: save the model, and load it outside `tables_on`."
            )
        if self.dim == 1:
            return
        (table,) = self.tables
        int8 = Int8Rows(self, table.shape)
        int8.fill(self.read_rows)
        self._int8 = int8
        self.tables = [self._int8.rows]
        self._untrack_variable(table)
        self._is_quantized = True  # Keras refuses a second time
        use_int8(self)

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
        if self._int8 is not None:
            return self._int8.read(rows)
        if self._placed is not None:
            return self._placed.gather(rows, self.compute_dtype)
        if keras.backend.backend() != "tensorflow":
            return ops.take(self.tables[0], rows, axis=0)
        import tensorflow as tf

        from tfdlrm.layers._missed_decay import brought_up
        from tfdlrm.layers._table_rows import own_copy

        # The variable itself, not its value: a resource gather reads these rows and no
        # others.
        (table,) = self.tables
        vectors = tf.nn.embedding_lookup(own_copy(table.value), rows)
        return brought_up(table, vectors, rows)

    def penalty(self, ids: Any, features: Any, regularizer: Any) -> Any:
        """Return the penalty of the rows that ids name, each row once; TensorFlow only.

        Args:
            ids: Integer tensor `(n,)`, every id within its feature's vocabulary.
            features: Position of the feature of each id, `(n,)`.
            regularizer: Function from rows `(rows, dim)` to a number.
        """
        import tensorflow as tf

        distinct_rows, _ = tf.unique(tf.reshape(self.rows_of(ids, features), [-1]))
        return regularizer(tf.cast(self.read_rows(distinct_rows), "float32"))

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
