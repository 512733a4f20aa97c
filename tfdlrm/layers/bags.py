"""Convert categorical columns to the indices and offsets of embedding bags."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from numbers import Number
from typing import Any, NoReturn

import numpy as np

from tfdlrm.layers._column_rows import Bag, bag_of, names_and_columns, rows_of


@dataclass(frozen=True)
class IndexedColumns:
    """Categorical columns with a number, the id, in place of each value.

    Args:
        indices: Ids of each column, row after row, in one array.
        offsets: Position in `indices` at which the bag of each column and row begins;
            shape `(columns, rows)`.
        vocabularies: Values of each column; the id of a value is its position. `None`
            stands for all values that the vocabulary lacks.

    Reference:
        `torch.nn.EmbeddingBag` and the reference implementation take this form; the
        latter calls it `lS_i` and `lS_o`.
    """

    indices: list[np.ndarray]
    offsets: np.ndarray
    vocabularies: list[list[Any]]

    @property
    def vocabulary_sizes(self) -> list[int]:
        """Number of ids of each column."""
        return [len(vocabulary) for vocabulary in self.vocabularies]

    def to_columns(self) -> list[list[list[Any]]]:
        """Return the list of values of each column and row."""
        return [
            [
                [vocabulary[index] for index in bag]
                # Without rows there are no bags, not one empty bag.
                for bag in (np.split(ids, starts[1:]) if len(starts) else ())
            ]
            for ids, starts, vocabulary in zip(
                self.indices, self.offsets, self.vocabularies, strict=True
            )
        ]

    def to_ragged(self) -> Any:
        """Return the ids as `fit`, a batch and a model take them, row by row.

        Returns:
            A `tf.RaggedTensor` of shape `(rows, columns, None)` of int64.

        Example:

        >>> index_columns([["de", "fr"], [["a", "b"], []]]).to_ragged().to_list()
        [[[0], [0, 1]], [[1], []]]
        """
        import tensorflow as tf

        num_columns, num_rows = self.offsets.shape
        lengths = np.stack(
            [
                np.diff(starts, append=len(ids))
                for ids, starts in zip(self.indices, self.offsets, strict=True)
            ],
            axis=1,
        )  # (rows, columns)
        rows = [np.repeat(np.arange(num_rows), counts) for counts in lengths.T]
        order = np.argsort(np.concatenate(rows), kind="stable")
        ids = np.concatenate(self.indices).astype(np.int64)[order]
        bags = tf.RaggedTensor.from_row_lengths(ids, lengths.ravel())
        return tf.RaggedTensor.from_uniform_row_length(
            bags, num_columns, nrows=num_rows
        )


def index_columns(
    columns: Any, vocabularies: Any = None, unknown: bool = False
) -> IndexedColumns:
    """Number the values of columns, as `EmbeddingCollection` takes them.

    Args:
        columns: A list of columns, a dictionary of them, a DataFrame of pandas or
            Polars, or a table of PyArrow. A column is a list, an array or a Series of
            rows. A row is one value, or a list, tuple, set, array or Series of values,
            which may be empty; a string is one value. Missing values (`None`, NaN,
            `pandas.NA`, NaT) are left out; a row that is a missing value is an empty
            bag.
        vocabularies: Values of each column in the order of their ids, such as those of
            training; if columns have names, a dictionary or a frame by name. With
            `None`, values are numbered as they come, and those of a set in sorted
            order. A `None` among the values of a column stands for all others.
        unknown: Whether id 0 of every column is to stand for the values that its
            vocabulary lacks; the vocabularies begin with `None` then. Those that are
            returned have it for later calls.

    Returns:
        Indices, offsets and vocabularies. `fit` batches their `to_ragged()`.

    Raises:
        ValueError: If columns differ in length, a value is in its vocabulary twice, or
            not at all and nothing stands for others, or an argument holds no columns,
            rows or values.

    Example:

    >>> indexed = index_columns([["de", "fr", "de"], [["a", "b"], [], ["b"]]])
    >>> [ids.tolist() for ids in indexed.indices]
    [[0, 1, 0], [0, 1, 1]]
    >>> indexed.offsets.tolist()
    [[0, 1, 2], [0, 2, 2]]
    >>> indexed.to_columns()[1]
    [['a', 'b'], [], ['b']]
    >>> training = index_columns([["de", "fr"]], unknown=True)
    >>> index_columns([["fr", "it"]], training.vocabularies).indices[0].tolist()
    [2, 0]
    """
    names, column_list = names_and_columns(columns)
    if not column_list:
        raise ValueError("Got no columns, expected at least one.")
    titles = [f"Column {name!r}" for name in names or range(len(column_list))]
    vocabulary_list = _list_vocabularies(vocabularies, names, titles)
    bags = [
        _bags(rows_of(column, title), title)
        for column, title in zip(column_list, titles, strict=True)
    ]
    num_rows = {len(column) for column in bags}
    if len(num_rows) != 1:
        raise ValueError(f"Columns have {sorted(num_rows)} rows: expected the same.")
    numbered_columns = [
        _number_values(column, vocabulary, title, unknown)
        for column, vocabulary, title in zip(bags, vocabulary_list, titles, strict=True)
    ]
    offsets = [
        np.cumsum([0, *map(len, column)], dtype=np.int64)[:-1] for column in bags
    ]
    return IndexedColumns(
        [indices for indices, _ in numbered_columns],
        np.stack(offsets),
        [vocabulary for _, vocabulary in numbered_columns],
    )


def _list_vocabularies(
    vocabularies: Any, names: list[Any] | None, titles: list[str]
) -> list[list[Any] | None]:
    """Return the vocabulary of each column, in the order of the columns."""
    if vocabularies is None:
        return [None] * len(titles)
    own_names, vocabulary_list = names_and_columns(vocabularies)
    is_by_name = isinstance(vocabularies, Mapping)
    if (is_by_name or names is not None) and own_names not in (None, names):
        vocabulary_list = _sort_by_name(names, own_names, vocabulary_list, titles)
    if len(vocabulary_list) != len(titles):
        raise ValueError(
            f"Got {len(vocabulary_list)} vocabularies for {len(titles)} columns: "
            "expected one for each."
        )
    return [
        rows_of(vocabulary, f"The vocabulary of {title}")
        for vocabulary, title in zip(vocabulary_list, titles, strict=True)
    ]


def _sort_by_name(
    names: list[Any] | None,
    own_names: Any,
    vocabulary_list: list[Any],
    titles: list[str],
) -> list[Any]:
    """Return the vocabularies in the order of the columns that they are named after."""
    by_name = dict(zip(own_names, vocabulary_list, strict=True))
    is_clear = len(by_name) == len(vocabulary_list)  # two may have one name
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


def _number_values(
    bags: list[Bag], vocabulary: list[Any] | None, title: str, unknown: bool
) -> tuple[np.ndarray, list[Any]]:
    """Return the ids of all values of a column, in one array, and its vocabulary."""
    values = list(chain.from_iterable(bags))
    _check_types({*map(type, values), *map(type, vocabulary or ())}, title)
    try:
        distinct_values = dict.fromkeys(values if vocabulary is None else vocabulary)
    except TypeError:
        _refuse_unhashable(bags, vocabulary, title)
    if vocabulary is not None and len(distinct_values) != len(vocabulary):
        _refuse_repetition(vocabulary, title)
    if unknown and None not in distinct_values:
        distinct_values = {None: None} | distinct_values
    ids = dict(zip(distinct_values, range(len(distinct_values)), strict=True))
    id_of: Callable[[Any], int] = ids.__getitem__
    if None in ids:
        id_of = partial(_id_or, ids, ids[None])
    try:
        indices = np.fromiter(map(id_of, values), np.int64, len(values))
    except (KeyError, TypeError):
        _refuse_unknown(bags, ids, title)
    return indices, list(ids)


def _id_or(ids: dict[Any, int], other_id: int, value: Any) -> int:
    return ids.get(value, other_id)


def _check_types(types: set[type], title: str) -> None:
    # True equals 1, and would have its id.
    booleans = types & {bool, np.bool_}
    number_names = sorted(
        type_.__name__ for type_ in types - booleans if issubclass(type_, Number)
    )
    if booleans and number_names:
        raise ValueError(
            f"{title} has values of the types bool and {', '.join(number_names)}, and "
            "True equals 1: expected one of them."
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
    positions: dict[Any, int] = {}
    for position, value in enumerate(vocabulary):
        if positions.setdefault(value, position) != position:
            raise ValueError(
                f"The vocabulary of {title} has {value!r} at position "
                f"{positions[value]} and at {position}: expected each value once."
            )
    raise AssertionError("no value is repeated")


def _refuse_unknown(bags: list[Bag], ids: dict[Any, int], title: str) -> NoReturn:
    for row, bag in enumerate(bags):
        for value in bag:
            if not _is_hashable(value) or value not in ids:
                raise ValueError(
                    f"{title}: Row {row} holds {value!r}, which is not in the "
                    f"vocabulary of {len(ids)} values: add it, replace it by one that "
                    "is, or give unknown=True, for id 0 to stand for such values."
                )
    raise AssertionError("every value is in the vocabulary")


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
