"""The bytes of `tf.train.Example`, written without TensorFlow.

Features come sorted by name, as in its own deterministic serialization; the rest is
https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from pipelines.ids.encoded_rows import EncodedRows
from pipelines.logs.columns import Columns

Kind = Literal[1, 2, 3]
BYTES_LIST: Kind = 1
FLOAT_LIST: Kind = 2
INT64_LIST: Kind = 3

ID_BYTES = 5
"""What an id below 2**31 takes at most, seven bits a byte."""

ROWS_AT_ONCE = 1024


def bytes_example(features: Mapping[str, bytes]) -> bytes:
    """An Example of features that are one byte string each.

    Args:
        features: Name and value of each feature.
    """
    entries = [
        part
        for name, value in sorted(features.items())
        for part in (_entry_head(name, BYTES_LIST, len(value)), value)
    ]
    return b"".join([_head(1, sum(map(len, entries))), *entries])


def row_examples(rows: EncodedRows, columns: Columns) -> Iterator[bytes]:
    """An Example a row: a float for label and dense features, an integer for an id.

    A multi-hot feature has an integer for each of its ids.

    Rows are laid out side by side with room for the longest, and what a row does not
    use is left out by one selection: no row is handled column by column.

    Args:
        rows: The rows.
        columns: Names of the features.

    Yields:
        Each row as bytes.
    """
    layout = _layout(columns)
    for chunk in rows.blocks(ROWS_AT_ONCE):
        cells = [cell for column in layout for cell in column.cells(chunk)]
        contents = np.concatenate([each.contents for each in cells], axis=1)
        is_used = np.concatenate([each.is_used for each in cells], axis=1)
        ends = np.cumsum(is_used.sum(axis=1)).tolist()
        joined = contents[is_used].tobytes()
        begin = 0
        for end in ends:
            yield _example_head(end - begin) + joined[begin:end]
            begin = end


@dataclass(frozen=True)
class _Cells:
    """Bytes of a part of every row.

    Args:
        contents: `(rows, width)`.
        is_used: `(rows, width)`, which of them belong to the record.
    """

    contents: np.ndarray
    is_used: np.ndarray


class _Column:
    """How one feature is written.

    Args:
        name: Name of the feature.
        field: Field of the row, and the place in it.
        kind: What it holds.
    """

    def __init__(self, name: str, field: tuple[str, int | None], kind: Kind) -> None:
        self._field, self._place = field
        self._kind = kind
        # A head for every length that a value may have, since it tells the length.
        lengths = range(1, ID_BYTES + 1) if kind == INT64_LIST else [4]
        self._heads = _padded([_entry_head(name, kind, n) for n in lengths])

    def cells(self, rows: EncodedRows) -> Iterator[_Cells]:
        """Head and value of every row."""
        values = rows.fixed[self._field]
        if self._place is not None:
            values = values[:, self._place]
        if self._kind == INT64_LIST:
            value = _varints(values)
            variant = value.is_used.sum(axis=1) - 1
        else:
            four = np.ascontiguousarray(values).view(np.uint8).reshape(-1, 4)
            value = _Cells(four, np.ones_like(four, bool))
            variant = np.zeros(len(rows), int)
        heads = self._heads
        yield _Cells(heads.contents[variant], heads.is_used[variant])
        yield value


class _BagColumn:
    """How a multi-hot feature is written.

    Args:
        name: Name of the feature.
        place: Which of the multi-hot ones it is.
    """

    def __init__(self, name: str, place: int) -> None:
        self._name, self._place = name, place

    def cells(self, rows: EncodedRows) -> Iterator[_Cells]:
        """Head and values of every row."""
        bags = rows.bags[self._place]
        value = _varints(bags.values)
        used = np.concatenate([[0], np.cumsum(value.is_used.sum(axis=1))])
        ends = np.cumsum(bags.lengths)
        num_bytes = used[ends] - used[ends - bags.lengths]
        lengths, variant = np.unique(num_bytes, return_inverse=True)
        heads = _padded(
            [_entry_head(self._name, INT64_LIST, n) for n in lengths.tolist()]
        )
        yield _Cells(heads.contents[variant], heads.is_used[variant])
        is_used = np.arange(num_bytes.max()) < num_bytes[:, None]
        contents = np.zeros(is_used.shape, np.uint8)
        contents[is_used] = value.contents[value.is_used]
        yield _Cells(contents, is_used)


def _padded(texts: list[bytes]) -> _Cells:
    sizes = np.array([len(text) for text in texts])
    is_used = np.arange(sizes.max()) < sizes[:, None]
    contents = np.zeros(is_used.shape, np.uint8)
    contents[is_used] = np.frombuffer(b"".join(texts), np.uint8)
    return _Cells(contents, is_used)


def _layout(columns: Columns) -> list[_Column | _BagColumn]:
    """The features in the order in which an Example has them."""
    named: dict[str, _Column | _BagColumn] = {
        columns.label: _Column(columns.label, ("label", None), FLOAT_LIST),
        **{
            name: _Column(name, ("dense_features", place), FLOAT_LIST)
            for place, name in enumerate(columns.dense_features)
        },
        **{
            name: _Column(name, ("categorical_features", place), INT64_LIST)
            for place, name in enumerate(columns.single_hot)
        },
        **{
            name: _BagColumn(name, place)
            for place, name in enumerate(columns.multi_hot)
        },
    }
    return [named[name] for name in sorted(named)]


def _varints(ids: np.ndarray) -> _Cells:
    """Seven bits a byte, the lowest first; all bytes but the last are marked."""
    shifted = ids.astype(np.uint32)[:, None] >> (
        7 * np.arange(ID_BYTES, dtype=np.uint32)
    )
    goes_on = np.zeros(shifted.shape, bool)
    goes_on[:, :-1] = shifted[:, 1:] > 0
    is_used = shifted > 0
    is_used[:, 0] = True
    contents = (shifted & 0x7F).astype(np.uint8) | (goes_on.astype(np.uint8) << 7)
    return _Cells(contents, is_used)


def _entry_head(name: str, kind: Kind, num_bytes: int) -> bytes:
    """What stands before the `num_bytes` of a feature's only value or packed values."""
    inner = b""
    # The value in its list, in a feature, in the map; a list of nothing has no field.
    for number in (1, kind, 2) if num_bytes or kind == BYTES_LIST else (kind, 2):
        inner = _head(number, len(inner) + num_bytes) + inner
    key = name.encode()
    entry = _head(1, len(key)) + key + inner
    return _head(1, len(entry) + num_bytes) + entry


@lru_cache(maxsize=4096)
def _example_head(num_bytes: int) -> bytes:
    return _head(1, num_bytes)


def _head(number: int, num_bytes: int) -> bytes:
    """Field number and length of a field of bytes."""
    groups = []
    while num_bytes > 0x7F:
        groups.append(num_bytes & 0x7F | 0x80)
        num_bytes >>= 7
    return bytes([number << 3 | 2, *groups, num_bytes])
