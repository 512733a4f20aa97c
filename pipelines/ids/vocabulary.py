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

_SLOTS_PER_VALUE = 2.6
"""Slots of the hash table of pandas, at most: a power of two, filled to 0.77."""

_MIN_SLOTS = 128


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
    is_text = metadata.schema.column(0).physical_type != "INT32"
    num_values, key_bytes = metadata.num_rows, 8 if is_text else 4
    # pandas keeps each key in its hash table, with a position, and in an array.
    num_slots = _SLOTS_PER_VALUE * num_values + _MIN_SLOTS
    index_bytes = num_slots * (key_bytes + 8) + num_values * key_bytes
    # Texts are kept too, to compare, each with a view.
    text_bytes = sum(column.total_uncompressed_size for column in columns)
    texts_bytes = 16 * num_values + text_bytes if is_text else 0
    return int(index_bytes) + 4 * (num_values + 1) + texts_bytes


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
    """From values to ids: an index of pandas, which is built once.

    It looks up whole columns, from any thread. A Polars join hashes the vocabulary
    again for every piece, and binary search misses the cache at every step: among 8
    million values they take 150 and 16 times as long (`python -m benchmarks.prepare`).
    Text is looked up by its 64-bit hash and then compared.

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
        import pandas as pd

        self._unknown_id, self._missing_id = unknown_id, missing_id
        self._texts: pl.Series | None = None
        self._sharing_a_hash: dict[str, int] = {}
        vocabulary = vocabulary.drop_nulls("value")
        if vocabulary.schema["value"] == pl.String:
            vocabulary = self._set_apart(vocabulary)
            self._texts = vocabulary["value"].rechunk()
            keys = self._texts.hash().to_numpy()
        else:
            keys = vocabulary["value"].cast(pl.UInt32).to_numpy()
        # Position -1, that of a value that is not found, is the last one.
        ids = vocabulary["id"].cast(pl.Int32).to_numpy()
        self._ids = np.append(ids, np.int32(unknown_id))
        self._index = pd.Index(keys)
        # The first lookup fills the index, which threads may share from then on.
        self._index.get_indexer(keys[:1])

    def _set_apart(self, vocabulary: pl.DataFrame) -> pl.DataFrame:
        """Take out texts whose hash an earlier one has, and return the others."""
        is_first = vocabulary["value"].hash().is_first_distinct()
        others = vocabulary.filter(~is_first).select("value", "id")
        self._sharing_a_hash = dict(others.iter_rows())
        return vocabulary.filter(is_first) if self._sharing_a_hash else vocabulary

    def ids(self, values: pl.Series) -> np.ndarray:
        """Return the id of each of `values`, as int32."""
        if self._texts is None:
            keys = values.fill_null(0).to_numpy()
            ids = self._ids[self._index.get_indexer(keys)]
        else:
            ids = self._ids_of_texts(values, self._texts)
        if values.null_count():
            ids[values.is_null().to_numpy()] = self._missing_id
        return ids

    def are_unknown(self, values: pl.Series, ids: np.ndarray) -> np.ndarray:
        """Return which of `values` have no id of their own; see `Table`."""
        del values
        return ids == self._unknown_id

    def _ids_of_texts(self, values: pl.Series, texts: pl.Series) -> np.ndarray:
        positions = self._index.get_indexer(values.hash().to_numpy())
        found = np.flatnonzero(positions >= 0)
        # Another text may have the same hash.
        same = values.gather(found).eq_missing(texts.gather(positions[found]))
        positions[found[~same.to_numpy()]] = -1
        ids = self._ids[positions]
        for text, id_ in self._sharing_a_hash.items():
            ids[(values == text).fill_null(value=False).to_numpy()] = id_
        return ids
