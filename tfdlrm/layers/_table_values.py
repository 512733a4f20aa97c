"""Initial values of stacked tables, made in pieces and written in place."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

CHUNK_ROWS = 1 << 15
"""Rows initialised at once, so that a new table takes little memory but its own.

With pieces of megabytes the allocator keeps 70 MB that are free again.
"""


class StackedTables(keras.initializers.Initializer):
    """Base class of initial values for several tables, one after another.

    Args:
        num_rows: Rows of each table.
    """

    def __init__(self, num_rows: Sequence[int]) -> None:
        self.num_rows = list(num_rows)

    def pieces(self, dim: int, dtype: str | None) -> Iterator[tuple[int, Any]]:
        """Yield pairs of a first row and the values from that row on."""
        raise NotImplementedError

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


@keras.saving.register_keras_serializable("tfdlrm")
class TableUniform(StackedTables):
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
        super().__init__(num_rows)
        self.bounds = list(bounds)
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)

    def pieces(self, dim: int, dtype: str | None) -> Iterator[tuple[int, Any]]:
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


@keras.saving.register_keras_serializable("tfdlrm")
class TableByTable(StackedTables):
    """Values of a Keras initializer, called with the shape of each table in turn.

    Keras' initializers draw the same numbers at every call, so each table has a copy: a
    fixed seed is counted up, and without one the copies draw their own.

    Args:
        num_rows: Rows of each table.
        initializer: Initializer of one table.
    """

    def __init__(
        self, num_rows: Sequence[int], initializer: keras.initializers.Initializer
    ) -> None:
        super().__init__(num_rows)
        self.initializer = initializer

    def pieces(self, dim: int, dtype: str | None) -> Iterator[tuple[int, Any]]:
        start = 0
        for position, num_rows in enumerate(self.num_rows):
            initializer = _copy(self.initializer, position)
            yield start, initializer((num_rows, dim), dtype=dtype)
            start += num_rows

    def get_config(self) -> dict[str, Any]:
        return {
            "num_rows": self.num_rows,
            "initializer": keras.initializers.serialize(self.initializer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TableByTable":
        initializer = keras.initializers.get(config["initializer"])
        return cls(config["num_rows"], initializer)


def _copy(initializer: Any, position: int) -> Any:
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer  # a function
    config = initializer.get_config()
    if isinstance(config.get("seed"), int):
        config["seed"] += position
    return type(initializer).from_config(config)
