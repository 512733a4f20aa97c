"""One's own categorical columns as the indices and offsets of embedding bags."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from numbers import Number
from typing import Any, NoReturn

import numpy as np

from tfdlrm.layers._column_rows import Bag, bag_of, named_columns, rows_of


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
            [
                [vocabulary[i] for i in bag]
                # No rows are no bags, and not one that is empty.
                for bag in (np.split(ids, starts[1:]) if len(starts) else ())
            ]
            for ids, starts, vocabulary in zip(
                self.indices, self.offsets, self.vocabularies, strict=True
            )
        ]


def index_columns(columns: Any, vocabularies: Any = None) -> IndexedColumns:
    """Number the values of columns, as `EmbeddingCollection` takes them.

    Args:
        columns: For each column its rows: a list of columns, a dictionary of them, a
            DataFrame of pandas or Polars, or a table of PyArrow. A column may be a
            list, an array or a Series. A row is one value, or a list, tuple, set,
            array or Series of values, which may be empty; a string is one value.
            Missing values (`None`, NaN, `pandas.NA`, NaT) are left out, and a row that
            is one is an empty bag.
        vocabularies: For each column the values in the order of their ids, such as
            those of training; numbered as they come when `None`, those of a set in
            sorted order. Where columns have names, a dictionary or a frame by name.

    Returns:
        Indices, offsets and vocabularies.

    Raises:
        ValueError: If columns differ in length, a value is not in its vocabulary or
            twice in it, or something cannot be a column, a row or a value.

    Example:

    >>> indexed = index_columns([["de", "fr", "de"], [["a", "b"], [], ["b"]]])
    >>> [ids.tolist() for ids in indexed.indices]
    [[0, 1, 0], [0, 1, 1]]
    >>> indexed.offsets.tolist()
    [[0, 1, 2], [0, 2, 2]]
    >>> indexed.to_columns()[1]
    [['a', 'b'], [], ['b']]
    """
    names, found = named_columns(columns)
    if not found:
        raise ValueError("Got no columns, expected at least one.")
    titles = [f"Column {each!r}" for each in names or range(len(found))]
    given = _vocabularies_of(vocabularies, names, titles)
    bags = [
        _bags(rows_of(column, title), title)
        for column, title in zip(found, titles, strict=True)
    ]
    lengths = {len(column) for column in bags}
    if len(lengths) != 1:
        raise ValueError(f"Columns have {sorted(lengths)} rows: expected the same.")
    numbered = [_number(*each) for each in zip(bags, given, titles, strict=True)]
    offsets = [
        np.cumsum([0, *map(len, column)], dtype=np.int64)[:-1] for column in bags
    ]
    return IndexedColumns(
        [indices for indices, _ in numbered],
        np.stack(offsets),
        [vocabulary for _, vocabulary in numbered],
    )


def _vocabularies_of(
    vocabularies: Any, names: list[Any] | None, titles: list[str]
) -> list[list[Any] | None]:
    """The vocabulary of each column, in their order."""
    if vocabularies is None:
        return [None] * len(titles)
    own_names, found = named_columns(vocabularies)
    is_by_name = isinstance(vocabularies, Mapping)
    if (is_by_name or names is not None) and own_names not in (None, names):
        found = _in_order_of(names, own_names, found, titles)
    if len(found) != len(titles):
        raise ValueError(
            f"Got {len(found)} vocabularies for {len(titles)} columns: expected one "
            "for each."
        )
    return [
        rows_of(each, f"The vocabulary of {title}")
        for each, title in zip(found, titles, strict=True)
    ]


def _in_order_of(
    names: list[Any] | None, own_names: Any, found: list[Any], titles: list[str]
) -> list[Any]:
    """The vocabularies in the order of the columns whose names they have."""
    by_name = dict(zip(own_names, found, strict=True))
    is_clear = len(by_name) == len(found)  # two may have one name
    if names is None or {*names} != {*by_name} or not is_clear:
        raise ValueError(
            f"Got vocabularies of {sorted(map(str, own_names))}, expected those of "
            f"{', '.join(titles)}."
        )
    return [by_name[name] for name in names]


def _bags(rows: list[Any], title: str) -> list[Bag]:
    bags = []
    for number, row in enumerate(rows):
        try:
            bags.append(bag_of(row))
        except ValueError as error:
            raise ValueError(f"{title}, row {number} holds {error}.") from None
    return bags


def _number(
    bags: list[Bag], vocabulary: list[Any] | None, title: str
) -> tuple[np.ndarray, list[Any]]:
    """The id of every value of a column, in one array, and the values by id."""
    values = list(chain.from_iterable(bags))
    _check_types({*map(type, values), *map(type, vocabulary or ())}, title)
    try:
        known = dict.fromkeys(values if vocabulary is None else vocabulary)
    except TypeError:
        _refuse_unhashable(bags, vocabulary, title)
    ids = dict(zip(known, range(len(known)), strict=True))
    if vocabulary is not None and len(ids) != len(vocabulary):
        _refuse_repetition(vocabulary, title)
    try:
        indices = np.fromiter(map(ids.__getitem__, values), np.int64, len(values))
    except (KeyError, TypeError):
        _refuse_unknown(bags, ids, title)
    return indices, list(ids)


def _check_types(types: set[type], title: str) -> None:
    # True equals 1, and would have its id.
    truths = types & {bool, np.bool_}
    numbers = sorted(
        each.__name__ for each in types - truths if issubclass(each, Number)
    )
    if truths and numbers:
        raise ValueError(
            f"{title} has values of the types bool and {', '.join(numbers)}, and True "
            "equals 1: expected one of them."
        )


def _refuse_unhashable(
    bags: list[Bag], vocabulary: list[Any] | None, title: str
) -> NoReturn:
    for row, bag in enumerate(bags):
        for value in bag:
            if not _is_hashable(value):
                raise ValueError(
                    f"{title}, row {row} holds {value!r} in a list: expected values "
                    "such as strings and numbers."
                )
    raise ValueError(
        f"The vocabulary of {title} holds lists, expected values such as strings and "
        "numbers."
    )


def _refuse_repetition(vocabulary: list[Any], title: str) -> NoReturn:
    first: dict[Any, int] = {}
    for place, value in enumerate(vocabulary):
        if first.setdefault(value, place) != place:
            raise ValueError(
                f"The vocabulary of {title} has {value!r} at place {first[value]} and "
                f"at {place}: expected each value once."
            )
    raise AssertionError("no value is repeated")


def _refuse_unknown(bags: list[Bag], ids: dict[Any, int], title: str) -> NoReturn:
    for row, bag in enumerate(bags):
        for value in bag:
            if not _is_hashable(value) or value not in ids:
                raise ValueError(
                    f"{title}: Row {row} holds {value!r}, which is not in the "
                    f"vocabulary of {len(ids)} values: add it, or replace it by one "
                    "that is."
                )
    raise AssertionError("every value is in the vocabulary")


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
