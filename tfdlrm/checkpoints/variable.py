"""The rows of a variable, read and written wherever they lie."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfdlrm.checkpoints.entries import PIECE_BYTES, Piece
from tfdlrm.layers._placed_tables import PlacedTables
from tfdlrm.layers._table_rows import write_rows

_NUMBER_BYTES = 8
"""Bytes of the number of a row."""


@dataclass(frozen=True)
class StoredVariable:
    """A variable of a model or its optimizer, as a checkpoint has it.

    A checkpoint knows nothing of devices: it holds the rows of a table in their order,
    whether they lay on one device or on several.

    Args:
        name: Its name in the checkpoint.
        parts: The variables that its rows lie in, each on all devices that have it.
        tables: Which row lies where; `None` where there is one part.
    """

    name: str
    parts: tuple[tuple[tf.Variable, ...], ...]
    tables: PlacedTables | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, all parts together."""
        rows, *rest = self._first.shape if self._first.shape.rank else (None,)
        if rows is None:
            return ()
        return (rows if self.tables is None else self.tables.num_rows, *rest)

    @property
    def dtype(self) -> Any:
        """NumPy's type of its numbers."""
        return self._first.dtype.as_numpy_dtype

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return max(1, int(np.prod(self.shape[1:])) * self._first.dtype.size)

    @property
    def num_bytes(self) -> int:
        """Bytes of all rows."""
        return int(np.prod(self.shape)) * int(self._first.dtype.size)

    @property
    def fits_a_piece(self) -> bool:
        """Whether it may be read and written at once."""
        return self.num_bytes <= PIECE_BYTES

    @property
    def _first(self) -> tf.Variable:
        return self.parts[0][0]

    def read(self, rows: np.ndarray | range) -> np.ndarray:
        """Read some rows, by their numbers, all at once; `pieces` bounds the bytes."""
        values = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for copies, selected, local in self._places(rows):
            # A gather from the variable itself: to read its value would copy it all.
            with tf.device(copies[0].device):
                values[selected] = tf.raw_ops.ResourceGather(
                    resource=copies[0].handle,
                    indices=local,
                    dtype=copies[0].dtype,
                )
        return values

    def write(self, rows: np.ndarray | range, values: np.ndarray) -> None:
        """Write values to some rows, no more at a time than a piece has."""
        for some in self._steps(len(rows)):
            self._write_at_once(rows[some], values[some])

    def _write_at_once(self, rows: np.ndarray | range, values: np.ndarray) -> None:
        for copies, selected, local in self._places(rows):
            for copy in copies:
                with tf.device(copy.device):
                    write_rows(copy, local, values[selected])

    def _steps(self, num_rows: int) -> Iterator[slice]:
        """Yield stretches of rows; with their numbers one takes `PIECE_BYTES` at most.

        A single row may take more.
        """
        step = max(1, PIECE_BYTES // (self.row_bytes + _NUMBER_BYTES))
        for start in range(0, num_rows, step):
            yield slice(start, min(start + step, num_rows))

    def _places(
        self, rows: np.ndarray | range
    ) -> Iterator[tuple[Any, Any, np.ndarray]]:
        """For each part: the part, indices into `rows`, local row numbers."""
        rows = np.asarray(rows)
        if self.tables is None:
            yield self.parts[0], slice(None), rows
            return
        owners, local = self.tables.locate(rows)
        for number, copies in enumerate(self.parts):
            selected = np.flatnonzero(owners == number)
            yield copies, selected, local[selected]

    def fill(self, value: bool) -> None:
        """Put one value everywhere."""
        for copies in self.parts:
            for copy in copies:
                with tf.device(copy.device):
                    copy.assign(tf.fill(copy.shape, value))

    def whole(self) -> Piece:
        """Return all of it at once, which is not for tables."""
        if self.tables is None:
            return Piece(self.name, self._first.numpy())
        values = np.empty(self.shape, self.dtype)
        for copies, shard in zip(self.parts, self.tables.shards, strict=True):
            part = copies[0].numpy()
            ends = np.cumsum(shard.lengths)
            for first, start, end in zip(
                shard.starts, ends - shard.lengths, ends, strict=True
            ):
                values[first : first + end - start] = part[start:end]
        return Piece(self.name, values)

    def pieces(self, rows: np.ndarray | range) -> Iterator[Piece]:
        """Yield some rows, by numbers in ascending order, a piece at a time."""
        for stretch in self._steps(len(rows)):
            some = rows[stretch]
            yield Piece(self.name, self.read(some), some)

    def assign(self, piece: Piece) -> None:
        """Put the values of a piece where they were."""
        if piece.rows is not None:
            self.write(piece.rows, piece.values)
        elif self.tables is not None or not self.fits_a_piece:
            self.write(range(self.shape[0]), piece.values)
        else:
            for copy in self.parts[0]:
                with tf.device(copy.device):  # else it passes through the first GPU
                    copy.assign(piece.values)
