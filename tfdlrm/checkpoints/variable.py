"""The rows of a variable, read and written on whichever devices they lie."""

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
    """A variable of a model or its optimizer, as a checkpoint stores it.

    A checkpoint is independent of devices: it holds the rows of a table in order,
    whether they lie on one device or on several.

    Args:
        name: Its name in the checkpoint.
        parts: The variables that hold its rows, each with its copies on devices.
        tables: The part of each row; `None` if there is one part.
    """

    name: str
    parts: tuple[tuple[tf.Variable, ...], ...]
    tables: PlacedTables | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all parts together."""
        rows, *widths = self._any_copy.shape if self._any_copy.shape.rank else (None,)
        if rows is None:
            return ()
        return (rows if self.tables is None else self.tables.num_rows, *widths)

    @property
    def dtype(self) -> Any:
        """NumPy's type of the values."""
        return self._any_copy.dtype.as_numpy_dtype

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return max(1, int(np.prod(self.shape[1:])) * self._any_copy.dtype.size)

    @property
    def num_bytes(self) -> int:
        """Bytes of all rows."""
        return int(np.prod(self.shape)) * int(self._any_copy.dtype.size)

    @property
    def fits_a_piece(self) -> bool:
        """Whether it is small enough to be read and written at once."""
        return self.num_bytes <= PIECE_BYTES

    @property
    def _any_copy(self) -> tf.Variable:
        return self.parts[0][0]

    def read(self, rows: np.ndarray | range) -> np.ndarray:
        """Read rows by their numbers, all at once; `pieces` bounds the bytes."""
        values = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for copies, indices, local in self._locate(rows):
            # A gather from the variable itself: reading its value would copy all of it.
            with tf.device(copies[0].device):
                values[indices] = tf.raw_ops.ResourceGather(
                    resource=copies[0].handle,
                    indices=local,
                    dtype=copies[0].dtype,
                )
        return values

    def write(self, rows: np.ndarray | range, values: np.ndarray) -> None:
        """Write values to rows, at most a piece at a time."""
        for stretch in self._steps(len(rows)):
            self._write_at_once(rows[stretch], values[stretch])

    def _write_at_once(self, rows: np.ndarray | range, values: np.ndarray) -> None:
        for copies, indices, local in self._locate(rows):
            for copy in copies:
                with tf.device(copy.device):
                    write_rows(copy, local, values[indices])

    def _steps(self, num_rows: int) -> Iterator[slice]:
        """Yield stretches of rows that take at most `PIECE_BYTES` with their numbers.

        A single row may take more.
        """
        step = max(1, PIECE_BYTES // (self.row_bytes + _NUMBER_BYTES))
        for start in range(0, num_rows, step):
            yield slice(start, min(start + step, num_rows))

    def _locate(
        self, rows: np.ndarray | range
    ) -> Iterator[tuple[Any, Any, np.ndarray]]:
        """Yield for each part: its copies, indices into `rows`, local row numbers."""
        rows = np.asarray(rows)
        if self.tables is None:
            yield self.parts[0], slice(None), rows
            return
        owners, local = self.tables.locate(rows)
        for number, copies in enumerate(self.parts):
            indices = np.flatnonzero(owners == number)
            yield copies, indices, local[indices]

    def fill(self, value: bool) -> None:
        """Set all rows to one value."""
        for copies in self.parts:
            for copy in copies:
                with tf.device(copy.device):
                    copy.assign(tf.fill(copy.shape, value))

    def whole(self) -> Piece:
        """Return all rows at once, for variables that are not large tables."""
        if self.tables is None:
            return Piece(self.name, self._any_copy.numpy())
        values = np.empty(self.shape, self.dtype)
        for copies, shard in zip(self.parts, self.tables.shards, strict=True):
            part = copies[0].numpy()
            ends = np.cumsum(shard.lengths)
            for first_row, start, end in zip(
                shard.starts, ends - shard.lengths, ends, strict=True
            ):
                values[first_row : first_row + end - start] = part[start:end]
        return Piece(self.name, values)

    def pieces(self, rows: np.ndarray | range) -> Iterator[Piece]:
        """Yield rows, by numbers in ascending order, a piece at a time."""
        for stretch in self._steps(len(rows)):
            numbers = rows[stretch]
            yield Piece(self.name, self.read(numbers), numbers)

    def assign(self, piece: Piece) -> None:
        """Assign the values of a piece to its rows."""
        if piece.rows is not None:
            self.write(piece.rows, piece.values)
        elif self.tables is not None or not self.fits_a_piece:
            self.write(range(self.shape[0]), piece.values)
        else:
            for copy in self.parts[0]:
                with tf.device(
                    copy.device
                ):  # otherwise it passes through the first GPU
                    copy.assign(piece.values)
