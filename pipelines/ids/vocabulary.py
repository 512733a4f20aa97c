"""Look up the ids of categorical values in a vocabulary."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from tfdlrm.base.kept_files import DamagedFileError
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.schema import MISSING_ID, UNKNOWN_ID
from tfdlrm.data.vocabulary_files import read_layout

_FREE = np.int32(-1)
_SPREAD = {
    # 2**bits / 1.618…: multiplying by it spreads neighbours (Knuth, TAOCP 6.4).
    np.dtype(np.uint32): np.uint32(2654435769),
    np.dtype(np.uint64): np.uint64(11400714819323198485),
}


class Table(Protocol):
    """Look up the ids of one column's values."""

    def ids(self, values: pl.Series) -> np.ndarray:
        """Return the id of each of `values`, as int32."""
        ...

    def are_unknown(self, values: pl.Series, ids: np.ndarray) -> np.ndarray:
        """Return which of `values` have no id of their own; False for missing ones.

        Args:
            values: Values of the column.
            ids: What `ids` returned for them.
        """
        ...


def table_bytes(directory: Path, name: str) -> int:
    """Return how much memory the `IdTable` of a vocabulary file takes at most.

    Raises:
        DamagedFileError: If the file, which this run has written, cannot be read.
    """
    import pyarrow as pa

    try:
        metadata = read_layout(directory, name)
    except (pa.ArrowException, OSError) as error:
        path = vocabulary_path(directory, name)
        raise DamagedFileError(f"{path} cannot be read: {error}") from None
    columns = [metadata.row_group(i).column(0) for i in range(metadata.num_row_groups)]
    num_slots = 4 * metadata.num_rows + 2
    if metadata.schema.column(0).physical_type == "INT32":
        return num_slots * (4 + _FREE.nbytes)
    # Texts are looked up by 64-bit hashes and kept to compare, each with a view.
    text_bytes = sum(column.total_uncompressed_size for column in columns)
    return num_slots * (8 + _FREE.nbytes) + 16 * metadata.num_rows + text_bytes


def encode_categories(
    frame: pl.DataFrame, names: Sequence[str], tables: Sequence[Table]
) -> np.ndarray:
    """Return the ids of the categorical columns of `frame`.

    Args:
        frame: Rows with 32-bit values or text, null where missing.
        names: The categorical columns.
        tables: Their tables, in the same order.

    Returns:
        int32 array `(rows, features)`.
    """
    ids = np.empty((frame.height, len(names)), np.int32)
    for position, (name, table) in enumerate(zip(names, tables, strict=True)):
        ids[:, position] = table.ids(frame[name].alias("value"))
    return ids


class IdTable:
    """From values to ids: an open-addressing hash table in two arrays.

    It is built once and then looked up by whole columns, from any thread. Among 8
    million values a lookup takes 62 ns. Binary search takes 18 times as long, and a
    Polars join, which hashes the vocabulary again for every piece, 200 times. The index
    of pandas takes 1.5 times as long, but threads may not share it before it is filled,
    and nothing else here needs pandas (`python -m benchmarks.prepare`). Text is looked
    up by its 64-bit hash and then compared.

    Args:
        vocabulary: Columns `value`, null for an id that no value has, and `id`.
        unknown_id: Id of values that the vocabulary lacks.
        missing_id: Id of null.

    Example:

    >>> table = IdTable(pl.DataFrame({"value": ["b", "a"], "id": [2, 3]}))
    >>> table.ids(pl.Series(["a", None, "x", "b"])).tolist()
    [3, 1, 0, 2]
    """

    def __init__(
        self,
        vocabulary: pl.DataFrame,
        unknown_id: int = UNKNOWN_ID,
        missing_id: int = MISSING_ID,
    ) -> None:
        self._unknown_id, self._missing_id = unknown_id, missing_id
        self._texts: pl.Series | None = None
        if vocabulary.schema["value"] == pl.String:
            # Sorted by id, so that the text of an id can be looked up and compared.
            self._first_id = int(vocabulary["id"].min() or 0)  # type: ignore[arg-type]
            self._texts = vocabulary.sort("id")["value"].rechunk()
        vocabulary = vocabulary.drop_nulls("value")
        if self._texts is not None:
            keys = vocabulary["value"].hash().to_numpy()
        else:
            keys = vocabulary["value"].cast(pl.UInt32).to_numpy()
        ids = vocabulary["id"].cast(pl.Int32).to_numpy()
        num_bits = max(1, (2 * len(keys)).bit_length())  # at least half stays free
        self._shift = keys.dtype.type(8 * keys.itemsize - num_bits)
        self._last_slot = 2**num_bits - 1
        self._keys = np.zeros(2**num_bits, keys.dtype)
        self._ids = np.full(2**num_bits, _FREE)
        self._insert(keys, ids)

    def _insert(self, keys: np.ndarray, ids: np.ndarray) -> None:
        slots = self._first_slots(keys)
        while len(keys):
            free = self._ids[slots] == _FREE
            self._keys[slots[free]] = keys[free]
            self._ids[slots[free]] = ids[free]
            # When several keys meet in one slot, the last one keeps it; others go on.
            homeless = self._ids[slots] != ids
            keys, ids = keys[homeless], ids[homeless]
            slots = (slots[homeless] + 1) & self._last_slot

    def ids(self, values: pl.Series) -> np.ndarray:
        """Return the id of each of `values`, as int32."""
        if self._texts is None:
            ids = self._find(values.fill_null(0).to_numpy())
        else:
            ids = self._find(values.hash().to_numpy())
            self._drop_false_matches(ids, values, self._texts)
        ids[ids == _FREE] = self._unknown_id
        if values.null_count():
            ids[values.is_null().to_numpy()] = self._missing_id
        return ids

    def are_unknown(self, values: pl.Series, ids: np.ndarray) -> np.ndarray:
        """Return which of `values` have no id of their own; see `Table`."""
        del values
        return ids == self._unknown_id

    def _find(self, keys: np.ndarray) -> np.ndarray:
        slots = self._first_slots(keys)
        ids = self._ids[slots]
        unresolved = np.flatnonzero((self._keys[slots] != keys) & (ids != _FREE))
        while len(unresolved):
            slots[unresolved] = (slots[unresolved] + 1) & self._last_slot
            ids[unresolved] = self._ids[slots[unresolved]]
            is_other_key = self._keys[slots[unresolved]] != keys[unresolved]
            unresolved = unresolved[is_other_key & (ids[unresolved] != _FREE)]
        return ids

    def _drop_false_matches(
        self, ids: np.ndarray, values: pl.Series, texts: pl.Series
    ) -> None:
        """Unset the ids of texts that only share a hash with one of the vocabulary."""
        matched_rows = np.flatnonzero(ids != _FREE)
        matched_texts = texts.gather(ids[matched_rows] - self._first_id)
        is_equal = values.gather(matched_rows).eq_missing(matched_texts).to_numpy()
        ids[matched_rows[~is_equal]] = _FREE

    def _first_slots(self, keys: np.ndarray) -> np.ndarray:
        return ((keys * _SPREAD[keys.dtype]) >> self._shift).astype(np.int64)
