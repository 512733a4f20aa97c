"""Encoded rows on their way to a shard: columns of a fixed width, and bags of ids."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np


def row_type(num_dense: int, num_categorical: int) -> np.dtype:
    """One row as it is kept between encoding and writing, in the file's byte order."""
    return np.dtype(
        [
            ("label", "<f4"),
            ("dense_features", "<f4", (num_dense,)),
            ("categorical_features", "<i4", (num_categorical,)),
        ]
    )


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
        """Bytes that they take."""
        return self.values.nbytes + self.lengths.nbytes

    def take(self, order: np.ndarray) -> "Bags":
        """The bags of these rows, in that order."""
        lengths = self.lengths.take(order)
        starts = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        new_starts = np.cumsum(lengths, dtype=np.int64) - lengths
        shifts = np.repeat(starts.take(order) - new_starts, lengths)
        return Bags(self.values.take(np.arange(len(shifts)) + shifts), lengths)

    def split(self, ends: Sequence[int] | np.ndarray) -> "list[Bags]":
        """The parts before, between and after these row numbers."""
        starts = np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])
        places = np.clip(np.asarray(ends, np.int64), 0, len(self.lengths))
        parts = np.split(self.values, starts[places])
        lengths = np.split(self.lengths, ends)
        return [Bags(*each) for each in zip(parts, lengths, strict=True)]


@dataclass(frozen=True)
class EncodedRows:
    """Rows whose values are ids and numbers.

    Args:
        fixed: Array of `row_type`: label, dense features and the ids
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
        """Bytes that they take."""
        return self.fixed.nbytes + sum(bags.nbytes for bags in self.bags)

    def take(self, order: np.ndarray) -> "EncodedRows":
        """These rows, in that order."""
        bags = tuple(bags.take(order) for bags in self.bags)
        return EncodedRows(self.fixed.take(order), bags)

    def split(self, ends: Sequence[int] | np.ndarray) -> "list[EncodedRows]":
        """The parts before, between and after these row numbers."""
        fixed = np.split(self.fixed, ends)
        bags = zip(*(bags.split(ends) for bags in self.bags), strict=True)
        parts = list(bags) if self.bags else [()] * len(fixed)
        return [EncodedRows(*each) for each in zip(fixed, parts, strict=True)]

    def blocks(self, num_rows: int) -> "Iterator[EncodedRows]":
        """The rows, so many at a time."""
        yield from self.split(range(num_rows, len(self), num_rows)) if len(self) else []

    def write(self, file: BinaryIO) -> int:
        """Append the rows to a file that `read` reads; returns the bytes it grew by."""
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
        """Return what `write` writes."""
        file = io.BytesIO()
        self.write(file)
        return file.getvalue()

    @classmethod
    def read(cls, path: Path, row_type: np.dtype, num_bags: int) -> "EncodedRows":
        """All rows that were written to a file.

        Args:
            path: The file.
            row_type: Type of the columns of a fixed width.
            num_bags: Number of multi-hot columns.
        """
        if not num_bags:
            return cls(np.fromfile(path, row_type))
        return cls.parse(path.read_bytes(), row_type, num_bags)

    @classmethod
    def parse(cls, written: bytes, row_type: np.dtype, num_bags: int) -> "EncodedRows":
        """All rows of the bytes that were written to a file; see `read`."""
        if not num_bags:
            return cls(np.frombuffer(written, row_type))
        parts = []
        place = 0

        def following(kind: np.dtype | str, count: int) -> np.ndarray:
            nonlocal place
            values = np.frombuffer(written, kind, count, place)
            place += values.nbytes
            return values

        while place < len(written):
            header = following("<i8", 1 + 2 * num_bags).tolist()
            fixed = following(row_type, header[0])
            arrays = [following("<i4", count) for count in header[1:]]
            bags = zip(arrays[1::2], arrays[::2], strict=True)
            parts.append(cls(fixed, tuple(Bags(*each) for each in bags)))
        return concatenate(parts)


def concatenate(parts: Sequence[EncodedRows]) -> EncodedRows:
    """The rows of one or more parts, one after the other."""
    bags = [
        Bags(
            np.concatenate([each.values for each in column]),
            np.concatenate([each.lengths for each in column]),
        )
        for column in zip(*(part.bags for part in parts), strict=True)
    ]
    return EncodedRows(np.concatenate([part.fixed for part in parts]), tuple(bags))
