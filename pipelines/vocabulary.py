"""Which categorical values get an id of their own, and the way from value to id."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from tfdlrm.errors import InputError
from tfdlrm.schema import MISSING_ID, NUM_RESERVED_IDS, UNKNOWN_ID, FeatureSchema

FOLDER = "vocabulary"
_COLUMNS = {"value": pl.UInt32, "id": pl.Int32, "frequency": pl.Int64}
_GOLDEN_RATIO = np.uint32(2654435769)
"""2**32 / 1.618…: multiplying by it spreads neighbouring values (Knuth, TAOCP 6.4)."""


def count_values(rows: pl.LazyFrame, name: str, min_frequency: int) -> pl.DataFrame:
    """The vocabulary of one column.

    Ids 0 and 1 are those of unknown and missing values; the values that are frequent
    enough follow from 2 by descending frequency, equally frequent ones by value.

    Args:
        rows: Training rows.
        name: Column of 32-bit values, null where missing.
        min_frequency: Values seen less often are left out, and so unknown.

    Returns:
        Columns `value` (UInt32), `id` (Int32) and `frequency` (Int64), by id.

    Example:

    >>> rows = pl.LazyFrame({"C1": [7, 9, 9, None]}, schema={"C1": pl.UInt32})
    >>> count_values(rows, "C1", min_frequency=1).rows()
    [(9, 2, 2), (7, 3, 1)]
    """
    counted = (
        rows.select(pl.col(name).alias("value"))
        .drop_nulls()
        .group_by("value")
        .agg(pl.len().cast(pl.Int64).alias("frequency"))
        .filter(pl.col("frequency") >= min_frequency)
        .collect(engine="streaming")
    )
    return (
        counted.sort("frequency", "value", descending=[True, False])
        .with_row_index("id", offset=NUM_RESERVED_IDS)
        .select(pl.col(column).cast(dtype) for column, dtype in _COLUMNS.items())
    )


def write_vocabulary(vocabulary: pl.DataFrame, directory: Path, name: str) -> None:
    """Write `vocabulary` of column `name` below a data set directory."""
    folder = directory / FOLDER
    folder.mkdir(exist_ok=True)
    vocabulary.write_parquet(folder / f"{name}.parquet")


def load_vocabularies(directory: Path, schema: FeatureSchema) -> list["IdTable"]:
    """Read the vocabularies that belong to a data set or to an exported model.

    Args:
        directory: The directory that holds `vocabulary/`.
        schema: Its schema.

    Returns:
        A table for each categorical feature, in column order.

    Raises:
        InputError: If a file is missing, damaged, or does not fit the schema.
    """
    return [
        IdTable(_read(directory / FOLDER / f"{feature.name}.parquet", size))
        for feature, size in zip(
            schema.categorical_features, schema.vocabulary_sizes, strict=True
        )
    ]


def _read(path: Path, vocabulary_size: int) -> pl.DataFrame:
    try:
        vocabulary = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path} cannot be read as a vocabulary ({reason}): prepare the data again"
        ) from None
    expected = vocabulary_size - NUM_RESERVED_IDS
    if dict(vocabulary.schema) != _COLUMNS or vocabulary.height != expected:
        raise InputError(
            f"{path} holds {vocabulary.height} values in columns "
            f"{vocabulary.columns}, expected {expected} in {list(_COLUMNS)} by the "
            "schema: it belongs to another data set"
        )
    return vocabulary


def encode_categories(
    frame: pl.DataFrame, names: Sequence[str], tables: Sequence["IdTable"]
) -> np.ndarray:
    """Ids of the categorical columns of `frame`.

    Args:
        frame: Rows with 32-bit values, null where missing.
        names: The categorical columns.
        tables: Their tables, in the same order.

    Returns:
        int32 array `(rows, features)`.
    """
    ids = np.empty((frame.height, len(names)), np.int32)
    for position, (name, table) in enumerate(zip(names, tables, strict=True)):
        ids[:, position] = table.ids(frame[name])
    return ids


class IdTable:
    """From 32-bit values to ids: an open-addressing hash table in two arrays.

    It is built once and then read by whole columns. For 8 million values that is
    twenty times as fast as binary search, and joins would hash the vocabulary anew
    for every chunk of rows.

    Args:
        vocabulary: Columns `value` and `id`.

    Example:

    >>> table = IdTable(pl.DataFrame({"value": [9, 7], "id": [2, 3]}))
    >>> table.ids(pl.Series([7, None, 8, 9], dtype=pl.UInt32)).tolist()
    [3, 1, 0, 2]
    """

    def __init__(self, vocabulary: pl.DataFrame) -> None:
        values = vocabulary["value"].cast(pl.UInt32).to_numpy()
        ids = vocabulary["id"].cast(pl.Int32).to_numpy()
        num_bits = max(1, (2 * len(values)).bit_length())  # at least half stays free
        self._shift = np.uint32(32 - num_bits)
        self._last_slot = 2**num_bits - 1
        self._values = np.zeros(2**num_bits, np.uint32)
        self._ids = np.full(2**num_bits, UNKNOWN_ID, np.int32)  # marks a free slot too
        self._insert(values, ids)

    def _insert(self, values: np.ndarray, ids: np.ndarray) -> None:
        slots = self._first_slots(values)
        while len(values):
            free = self._ids[slots] == UNKNOWN_ID
            self._values[slots[free]] = values[free]
            self._ids[slots[free]] = ids[free]
            # Of several values that met in one slot the last has it; others go on.
            homeless = self._ids[slots] != ids
            values, ids = values[homeless], ids[homeless]
            slots = (slots[homeless] + 1) & self._last_slot

    def ids(self, values: pl.Series) -> np.ndarray:
        """The id of each of `values`, as int32."""
        present = values.fill_null(0).to_numpy()
        slots = self._first_slots(present)
        ids = self._ids[slots]
        todo = np.flatnonzero((self._values[slots] != present) & (ids != UNKNOWN_ID))
        while len(todo):
            slots[todo] = (slots[todo] + 1) & self._last_slot
            ids[todo] = self._ids[slots[todo]]
            other = self._values[slots[todo]] != present[todo]
            todo = todo[other & (ids[todo] != UNKNOWN_ID)]
        if values.null_count():
            ids[values.is_null().to_numpy()] = MISSING_ID
        return ids

    def _first_slots(self, values: np.ndarray) -> np.ndarray:
        return ((values * _GOLDEN_RATIO) >> self._shift).astype(np.int64)
