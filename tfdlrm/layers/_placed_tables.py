"""Fused tables whose rows lie on several devices, or on one of their own."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# A variable that belongs to no strategy; TensorFlow has no public name for it.
from tensorflow.python.ops.resource_variable_ops import ResourceVariable

from tfdlrm.layers._missed_decay import brought_up
from tfdlrm.layers._table_rows import write_rows
from tfdlrm.layers._wide_sums import sum_dtype
from tfdlrm.layers.table_placement import Placement


@dataclass(frozen=True)
class Shard:
    """The rows of fused tables that one device holds, in one variable.

    Args:
        tables: The tables of which it is a part; the same object for all their shards.
        number: Number of the shard.
        device: Name of its device.
        starts: Fused row at which each run of rows of the shard begins.
        lengths: Rows of each run; the runs follow one another in the variable.
    """

    tables: "PlacedTables"
    number: int
    device: str
    starts: np.ndarray
    lengths: np.ndarray

    @property
    def num_rows(self) -> int:
        """Rows of the variable."""
        return int(self.lengths.sum())


class PlacedTables:
    """Fused tables whose rows lie on several devices.

    Args:
        num_rows: Rows of each table.
        dim: Width of a row.
        placement: Devices that hold the tables.
        make_variable: Makes the variable of one shard from its shape.
    """

    def __init__(
        self,
        num_rows: Sequence[int],
        dim: int,
        placement: Placement,
        make_variable: Callable[[tuple[int, int]], keras.Variable],
    ) -> None:
        slices = placement.place(num_rows, row_bytes=4 * dim)
        table_starts = np.cumsum([0, *num_rows])
        starts = np.array(
            [table_starts[part.table] + part.first_row for part in slices]
        )
        lengths = np.array([part.num_rows for part in slices])
        owners = np.array([part.device for part in slices])
        used_devices = np.unique(owners)  # few small tables may leave devices empty
        self.num_rows = int(table_starts[-1])
        self.shards = [
            Shard(
                self,
                number,
                placement.devices[device],
                starts[owners == device],
                lengths[owners == device],
            )
            for number, device in enumerate(used_devices)
        ]
        self.variables = []
        for shard in self.shards:
            with variables_on(shard):
                variable = make_variable((shard.num_rows, dim))
            variable.shard = shard
            self.variables.append(variable)
        # For each slice, in the order of fused rows: the number of its shard, and the
        # difference between a fused row and its row in the variable of the shard.
        self._starts = starts
        self._owners = np.searchsorted(used_devices, owners).astype(np.int32)
        self._shifts = np.zeros_like(starts)
        for device in used_devices:
            is_local = owners == device
            local_starts = np.cumsum(lengths[is_local]) - lengths[is_local]
            self._shifts[is_local] = starts[is_local] - local_starts

    def fill(self, pieces: Iterable[tuple[int, Any]]) -> None:
        """Write values to all rows.

        Args:
            pieces: Pairs of a first row and the values from that row on.
        """
        for start, values in pieces:
            rows = np.arange(start, start + values.shape[0])
            owners, local_rows = self.locate(rows)
            for number, variable in enumerate(self.variables):
                indices = np.flatnonzero(owners == number)
                with tf.device(self.shards[number].device):
                    write_rows(
                        variable.value, local_rows[indices], tf.gather(values, indices)
                    )

    def locate(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of the shard of each fused row, and its row there."""
        slices = np.searchsorted(self._starts, rows, side="right") - 1
        return self._owners[slices], rows - self._shifts[slices]

    def gather(self, rows: tf.Tensor, dtype: str) -> tf.Tensor:
        """Return the vectors of fused rows.

        Each distinct row goes to its shard and back once, and so does its gradient,
        however often the row is named.

        Args:
            rows: Integers of any shape.
            dtype: Type in which vectors travel between devices.

        Returns:
            Tensor `(*rows.shape, dim)`.
        """
        distinct_rows, positions = tf.unique(tf.reshape(rows, [-1]))
        slices = tf.searchsorted(
            tf.constant(self._starts, distinct_rows.dtype),
            distinct_rows,
            side="right",
            out_type=distinct_rows.dtype,  # int32 would leave a GPU
        )
        owners = tf.gather(self._owners, slices - 1)
        local_rows = distinct_rows - tf.gather(
            tf.cast(self._shifts, distinct_rows.dtype), slices - 1
        )
        shard_rows = tf.dynamic_partition(local_rows, owners, len(self.shards))
        shard_vectors = []
        for variable, shard, rows_of_shard in zip(
            self.variables, self.shards, shard_rows, strict=True
        ):
            with tf.device(shard.device):
                vectors = tf.nn.embedding_lookup(variable.value, rows_of_shard)
                vectors = brought_up(variable, vectors, rows_of_shard)
                shard_vectors.append(tf.cast(vectors, dtype))
        order = tf.dynamic_partition(
            tf.range(tf.size(distinct_rows)), owners, len(self.shards)
        )
        vectors = _spread(tf.dynamic_stitch(order, shard_vectors), positions)
        shape = tf.concat([tf.shape(rows), [vectors.shape[-1]]], axis=0)
        vectors = tf.reshape(vectors, shape)
        vectors.set_shape([*rows.shape, vectors.shape[-1]])
        return vectors


@tf.custom_gradient
def _spread(vectors: tf.Tensor, positions: tf.Tensor) -> Any:
    """Return `vectors[positions]`; gradients are added up before they travel."""

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        num_rows = tf.shape(vectors)[0]
        sums = tf.math.unsorted_segment_sum(
            tf.cast(upstream, sum_dtype(upstream.dtype)), positions, num_rows
        )
        return tf.cast(sums, upstream.dtype), None

    return tf.gather(vectors, positions), gradient


@contextmanager
def variables_on(shard: Shard | None) -> Iterator[None]:
    """Make variables that lie only on the device of a shard, under any strategy.

    Args:
        shard: Shard whose device is used; `None` makes variables as usual.
    """
    if shard is None:
        yield
        return

    def create(next_creator: Any, **kwargs: Any) -> tf.Variable:
        arguments = ("initial_value", "trainable", "dtype", "name")
        return ResourceVariable(**{name: kwargs[name] for name in arguments})

    with tf.variable_creator_scope(create), tf.device(shard.device):
        yield
