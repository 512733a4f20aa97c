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

from tfdlrm.layers._table_rows import write_rows
from tfdlrm.layers._wide_sums import sum_dtype
from tfdlrm.layers.table_placement import Placement


@dataclass(frozen=True)
class Shard:
    """What a variable of one device holds of fused tables that lie on several.

    Args:
        whole: The same object for all shards of these tables.
        number: Which shard.
        device: Its device.
        starts: Fused row at which each of its runs of rows begins.
        lengths: Rows of each run; in the variable they follow one another.
    """

    whole: "PlacedTables"
    number: int
    device: str
    starts: np.ndarray
    lengths: np.ndarray

    @property
    def num_rows(self) -> int:
        """Rows of the variable."""
        return int(self.lengths.sum())


class PlacedTables:
    """Finds the rows of fused tables wherever they lie.

    Args:
        num_rows: Rows of each table.
        dim: Width of a row.
        placement: Where tables are to lie.
        make_variable: Makes the variable of a shape for one shard.
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
        starts = np.array([table_starts[s.table] + s.first_row for s in slices])
        lengths = np.array([each.num_rows for each in slices])
        owners = np.array([each.device for each in slices])
        used = np.unique(owners)  # few small tables may leave a device without any
        self.num_rows = int(table_starts[-1])
        self.shards = [
            Shard(
                self,
                number,
                placement.devices[device],
                starts[owners == device],
                lengths[owners == device],
            )
            for number, device in enumerate(used)
        ]
        self.variables = []
        for shard in self.shards:
            with beside(shard):
                variable = make_variable((shard.num_rows, dim))
            variable.shard = shard
            self.variables.append(variable)
        # For each slice, in the order of fused rows: its owner, and what to take from a
        # fused row to have the row of the owner's variable.
        self._starts = starts
        self._owners = np.searchsorted(used, owners).astype(np.int32)
        self._shifts = np.zeros_like(starts)
        for device in used:
            mine = owners == device
            local_starts = np.cumsum(lengths[mine]) - lengths[mine]
            self._shifts[mine] = starts[mine] - local_starts

    def fill(self, pieces: Iterable[tuple[int, Any]]) -> None:
        """Give the rows their values.

        Args:
            pieces: Pairs of a first row and the values from there on.
        """
        for start, values in pieces:
            rows = np.arange(start, start + values.shape[0])
            owners, local = self.locate(rows)
            for number, variable in enumerate(self.variables):
                mine = np.flatnonzero(owners == number)
                with tf.device(self.shards[number].device):
                    write_rows(variable.value, local[mine], tf.gather(values, mine))

    def locate(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The shard of each fused row, and its row there."""
        place = np.searchsorted(self._starts, rows, side="right") - 1
        return self._owners[place], rows - self._shifts[place]

    def gather(self, rows: tf.Tensor, dtype: str) -> tf.Tensor:
        """The vectors of fused rows.

        Every row that is asked for goes to its owner and back once, and so does its
        gradient, however often it is named.

        Args:
            rows: Integers of any shape.
            dtype: What the vectors travel as.

        Returns:
            Tensor `(*rows.shape, dim)`.
        """
        distinct, places = tf.unique(tf.reshape(rows, [-1]))
        slices = tf.searchsorted(
            tf.constant(self._starts, distinct.dtype),
            distinct,
            side="right",
            out_type=distinct.dtype,  # int32 would leave a GPU
        )
        owners = tf.gather(self._owners, slices - 1)
        local = distinct - tf.gather(tf.cast(self._shifts, distinct.dtype), slices - 1)
        asked = tf.dynamic_partition(local, owners, len(self.shards))
        found = []
        for variable, shard, ids in zip(
            self.variables, self.shards, asked, strict=True
        ):
            with tf.device(shard.device):
                vectors = tf.nn.embedding_lookup(variable.value, ids)
                found.append(tf.cast(vectors, dtype))
        order = tf.dynamic_partition(
            tf.range(tf.size(distinct)), owners, len(self.shards)
        )
        vectors = _spread(tf.dynamic_stitch(order, found), places)
        shape = tf.concat([tf.shape(rows), [vectors.shape[-1]]], axis=0)
        vectors = tf.reshape(vectors, shape)
        vectors.set_shape([*rows.shape, vectors.shape[-1]])
        return vectors


@tf.custom_gradient
def _spread(vectors: tf.Tensor, places: tf.Tensor) -> Any:
    """`vectors[places]`, with gradients added up where they come from."""

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        num_rows = tf.shape(vectors)[0]
        sums = tf.math.unsorted_segment_sum(
            tf.cast(upstream, sum_dtype(upstream.dtype)), places, num_rows
        )
        return tf.cast(sums, upstream.dtype), None

    return tf.gather(vectors, places), gradient


@contextmanager
def beside(shard: Shard | None) -> Iterator[None]:
    """Make variables that lie on a shard's device only, whatever the strategy.

    Args:
        shard: The shard; `None` makes variables as usual.
    """
    if shard is None:
        yield
        return

    def make(next_creator: Any, **kwargs: Any) -> tf.Variable:
        taken = ("initial_value", "trainable", "dtype", "name")
        return ResourceVariable(**{name: kwargs[name] for name in taken})

    with tf.variable_creator_scope(make), tf.device(shard.device):
        yield
