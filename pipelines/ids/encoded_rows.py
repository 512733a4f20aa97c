"""Encoded rows on their way to a shard: columns of a fixed width and bags of ids."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tfdlrm.data.block_format import INTEGER


@dataclass(frozen=True)
class Bags:
    """The ids of a multi-hot column.

    Args:
        values: The ids of all rows, row after row; int32.
        lengths: Number of ids of each row; int32.
    """

    values: np.ndarray
    lengths: np.ndarray

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.values.nbytes + self.lengths.nbytes

    def take(self, order: np.ndarray) -> "Bags":
        """Return the bags of the rows numbered `order`, in that order."""
        lengths = self.lengths.take(order)
        starts = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        new_starts = np.cumsum(lengths, dtype=np.int64) - lengths
        shifts = np.repeat(starts.take(order) - new_starts, lengths)
        return Bags(self.values.take(np.arange(len(shifts)) + shifts), lengths)

    def split(self, ends: Sequence[int] | np.ndarray) -> "list[Bags]":
        """Return the parts before, between and after the row numbers `ends`."""
        starts = np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])
        cuts = np.clip(np.asarray(ends, np.int64), 0, len(self.lengths))
        parts = np.split(self.values, starts[cuts])
        lengths = np.split(self.lengths, ends)
        return [Bags(*part) for part in zip(parts, lengths, strict=True)]


@dataclass(frozen=True)
class EncodedRows:
    """Rows whose values are ids and numbers.

    Args:
        fixed: Array of type `block_format.row_type`: label, dense features and the ids
            of single-hot columns.
        bags: The ids of each multi-hot column.

    Example:

    >>> fixed = np.array([(1,), (0,), (1,)], [("label", "<f4")])
    >>> bags = Bags(np.arange(3, dtype=np.int32), np.array([2, 0, 1], np.int32))
    >>> rows = EncodedRows(fixed, (bags,)).take(np.array([2, 0]))
    >>> rows.fixed["label"].tolist(), rows.bags[0].values.tolist()
    ([1.0, 1.0], [2, 0, 1])
    """

    fixed: np.ndarray
    bags: tuple[Bags, ...] = ()

    def __len__(self) -> int:
        return len(self.fixed)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.fixed.nbytes + sum(bags.nbytes for bags in self.bags)

    def take(self, order: np.ndarray) -> "EncodedRows":
        """Return the rows numbered `order`, in that order."""
        bags = tuple(bags.take(order) for bags in self.bags)
        return EncodedRows(self.fixed.take(order), bags)

    def split(self, ends: Sequence[int] | np.ndarray) -> "list[EncodedRows]":
        """Return the parts before, between and after the row numbers `ends`."""
        fixed = np.split(self.fixed, ends)
        bags = zip(*(bags.split(ends) for bags in self.bags), strict=True)
        parts = list(bags) if self.bags else [()] * len(fixed)
        return [EncodedRows(*part) for part in zip(fixed, parts, strict=True)]

    def blocks(self, num_rows: int) -> "Iterator[EncodedRows]":
        """Yield the rows, `num_rows` at a time."""
        yield from self.split(range(num_rows, len(self), num_rows)) if len(self) else []

    def write(self, file: BinaryIO) -> int:
        """Append the rows to a file for `read`; return the number of bytes written."""
        if not self.bags:
            file.write(self.fixed.data)
            return self.fixed.nbytes
        arrays = [self.fixed]
        for bags in self.bags:
            arrays += [bags.lengths, bags.values]
        header = np.array([len(array) for array in arrays], "<i8")
        for array in (header, *arrays):
            file.write(np.ascontiguousarray(array).data)
        return header.nbytes + self.nbytes

    def to_bytes(self) -> bytes:
        """Return the bytes that `write` writes."""
        file = io.BytesIO()
        self.write(file)
        return file.getvalue()

    @classmethod
    def read(cls, path: Path, row_type: np.dtype, num_bags: int) -> "EncodedRows":
        """Read all rows that were written to a file.

        Args:
            path: The file.
            row_type: Type of the columns of a fixed width.
            num_bags: Number of multi-hot columns.
        """
        if not num_bags:
            return cls(np.fromfile(path, row_type))
        return cls.parse(path.read_bytes(), row_type, num_bags)

    @classmethod
    def parse(cls, contents: bytes, row_type: np.dtype, num_bags: int) -> "EncodedRows":
        """Return all rows in the contents of a file; see `read`."""
        if not num_bags:
            return cls(np.frombuffer(contents, row_type))
        parts = []
        offset = 0

        def take_next(dtype: np.dtype | str, count: int) -> np.ndarray:
            nonlocal offset
            values = np.frombuffer(contents, dtype, count, offset)
            offset += values.nbytes
            return values

        while offset < len(contents):
            header = take_next("<i8", 1 + 2 * num_bags).tolist()
            fixed = take_next(row_type, header[0])
            arrays = [take_next(INTEGER, count) for count in header[1:]]
            bags = zip(arrays[1::2], arrays[::2], strict=True)
            parts.append(cls(fixed, tuple(Bags(*bag) for bag in bags)))
        return concatenate(parts)


def concatenate(parts: Sequence[EncodedRows]) -> EncodedRows:
    """Return the rows of one or more parts, one part after the other."""
    bags = [
        Bags(
            np.concatenate([part.values for part in column]),
            np.concatenate([part.lengths for part in column]),
        )
        for column in zip(*(part.bags for part in parts), strict=True)
    ]
    return EncodedRows(np.concatenate([part.fixed for part in parts]), tuple(bags))
