"""One's own categorical columns as the indices and offsets of embedding bags."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class IndexedColumns:
    """Categorical columns with their values numbered.

    Args:
        indices: For each column its ids, row after row, in one array.
        offsets: For each column and row, where in `indices` its bag begins; shape
            `(columns, rows)`.
        vocabularies: For each column its values; the id of a value is its place.

    Reference:
        The form that `torch.nn.EmbeddingBag` and the reference implementation take,
        there called `lS_i` and `lS_o`.
    """

    indices: list[np.ndarray]
    offsets: np.ndarray
    vocabularies: list[list[Any]]

    @property
    def vocabulary_sizes(self) -> list[int]:
        """Number of ids of each column."""
        return [len(vocabulary) for vocabulary in self.vocabularies]

    def to_columns(self) -> list[list[list[Any]]]:
        """The values again: for each column and row the list of its values."""
        return [
            [[vocabulary[i] for i in bag] for bag in np.split(ids, starts[1:])]
            for ids, starts, vocabulary in zip(
                self.indices, self.offsets, self.vocabularies, strict=True
            )
        ]


def index_columns(
    columns: Sequence[Iterable[Any]],
    vocabularies: Sequence[Sequence[Hashable]] | None = None,
) -> IndexedColumns:
    """Number the values of columns, as `EmbeddingCollection` takes them.

    Args:
        columns: For each column its rows. A row is one value, or a list, tuple or set
            of values, which may be empty; a string is one value, `None` is an empty
            bag.
        vocabularies: For each column the values in the order of their ids, such as
            those of training; numbered as they come when `None`.

    Returns:
        Indices, offsets and vocabularies.

    Raises:
        ValueError: If columns differ in length, or a value is not in its vocabulary.

    Example:

    >>> indexed = index_columns([["de", "fr", "de"], [["a", "b"], [], ["b"]]])
    >>> [ids.tolist() for ids in indexed.indices]
    [[0, 1, 0], [0, 1, 1]]
    >>> indexed.offsets.tolist()
    [[0, 1, 2], [0, 2, 2]]
    >>> indexed.to_columns()[1]
    [['a', 'b'], [], ['b']]
    """
    bags = [[_as_bag(row) for row in column] for column in columns]
    lengths = {len(column) for column in bags}
    if len(lengths) != 1:
        raise ValueError(f"Columns have {sorted(lengths)} rows: expected the same.")
    numbers = [
        _number(column, None if vocabularies is None else vocabularies[position])
        for position, column in enumerate(bags)
    ]
    offsets = [np.cumsum([0, *map(len, column)])[:-1] for column in bags]
    indices = [
        np.array([ids[value] for bag in column for value in bag], np.int64)
        for column, ids in zip(bags, numbers, strict=True)
    ]
    return IndexedColumns(indices, np.stack(offsets), [list(ids) for ids in numbers])


def _as_bag(row: Any) -> list[Hashable]:
    if row is None:
        return []
    return list(row) if isinstance(row, list | tuple | set) else [row]


def _number(
    column: list[list[Hashable]], vocabulary: Sequence[Hashable] | None
) -> dict[Hashable, int]:
    """The id of every value of `column`."""
    if vocabulary is None:
        ids: dict[Hashable, int] = {}
        for bag in column:
            for value in bag:
                ids.setdefault(value, len(ids))
        return ids
    ids = {value: number for number, value in enumerate(vocabulary)}
    for row, bag in enumerate(column):
        for value in bag:
            if value not in ids:
                raise ValueError(
                    f"Row {row} holds {value!r}, which is not in the vocabulary of "
                    f"{len(ids)} values: add it, or replace it by one that is."
                )
    return ids
