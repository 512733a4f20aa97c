"""The block record: names, types and widths of its fields.

A block is a `tf.train.Example` of byte strings, one for each field: little-endian
numbers of four bytes, row after row. Label, dense features and single-hot ids have a
field each. A multi-hot column has two: the ids of all rows, and the number of ids of
each row. Writer, reader, verifier and stream take the format from here.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

LABEL = "label"
DENSE = "dense_features"
IDS = "categorical_features"

ORIGIN = "/data_set"
"""Field with the fingerprint of the data set; no column can have this name."""

FLOAT = np.dtype("<f4")
INTEGER = np.dtype("<i4")


@dataclass(frozen=True)
class Field:
    """A field of a block.

    Args:
        name: Its name.
        dtype: Type of its numbers.
        shape: Shape of the numbers of one row.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def width(self) -> int:
        """How many numbers a row has."""
        return prod(self.shape)

    def num_bytes(self, num_rows: int) -> int:
        """Return the size of the field in a block of `num_rows`."""
        return num_rows * self.width * self.dtype.itemsize


@dataclass(frozen=True)
class BagFields:
    """The two fields of a multi-hot column.

    Args:
        values: The ids of all rows, row after row.
        lengths: The number of ids of each row.
    """

    values: Field
    lengths: Field


LABEL_FIELD = Field(LABEL, FLOAT, ())


def row_fields(num_dense: int, num_single_hot: int) -> tuple[Field, Field, Field]:
    """Return the fields that every block has: label, dense features, single-hot ids."""
    dense = Field(DENSE, FLOAT, (num_dense,))
    return LABEL_FIELD, dense, Field(IDS, INTEGER, (num_single_hot,))


def bag_fields(name: str) -> BagFields:
    """Return the fields of a multi-hot column.

    Example:

    >>> fields = bag_fields("tags")
    >>> fields.values.name, fields.lengths.name
    ('tags.values', 'tags.row_lengths')
    """
    values = Field(f"{name}.values", INTEGER, ())
    return BagFields(values, Field(f"{name}.row_lengths", INTEGER, ()))


def row_type(num_dense: int, num_single_hot: int) -> np.dtype:
    """Return the fields that every block has as the type of one row.

    Example:

    >>> row_type(13, 26).itemsize
    160
    """
    fields = row_fields(num_dense, num_single_hot)
    return np.dtype([(field.name, field.dtype, field.shape) for field in fields])
