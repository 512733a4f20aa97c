"""Files of vocabularies: the only module that writes, reads and copies them.

The file of a column has a row for each id: `value`, `id` and `frequency`. Where a data
set extends another, it also has `since`, the number of the data set that gave the value
its id, and `last_day`, the day on which a row last had the value; both count through
the chain from 0. An id whose value was forgotten, and which no value has taken yet, has
the value null and the frequency 0.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tfdlrm.base import local_copies, storage
from tfdlrm.base.checksums import checked_bytes
from tfdlrm.base.errors import InputError
from tfdlrm.data.column_files import require_own_file, vocabulary_path
from tfdlrm.data.dialects import traits_of
from tfdlrm.data.schema import VOCABULARY_FOLDER, FeatureSchema

if TYPE_CHECKING:
    import pyarrow.parquet

_COLUMNS = ["value", "id", "frequency"]
_HISTORY = ["since", "last_day"]


def has_vocabularies(schema: FeatureSchema, directory: Path) -> bool:
    """Return whether a directory holds what turns raw values into ids."""
    return (
        not traits_of(schema.dialect).has_vocabulary
        or not schema.categorical_features
        or (storage.at(directory) / VOCABULARY_FOLDER).is_dir()
    )


def write_vocabulary(vocabulary: pl.DataFrame, directory: Path, name: str) -> None:
    """Write `vocabulary` of column `name` below a data set directory, or nothing.

    The caller waits for the disk, by `tfdlrm.base.kept_files.keep`.

    Args:
        vocabulary: Columns `value` (UInt32 or String), `id` (Int32) and `frequency`
            (Int64), by id; and `since` and `last_day` (Int32) if it extends another.
        directory: The data set directory.
        name: The column.
    """
    path = vocabulary_path(directory, name)
    path.parent.mkdir(exist_ok=True)
    require_own_file(path, name)
    with storage.whole(path, is_kept=True) as aside:
        vocabulary.write_parquet(aside)


def read_vocabulary(
    directory: Path, name: str, num_values: int, sha256: str | None = None
) -> pl.DataFrame:
    """Read the vocabulary of a column of a data set or of an exported model.

    Args:
        directory: The directory that holds `vocabulary/`.
        name: The column.
        num_values: Number of values by the schema.
        sha256: Checksum of the file by the schema, if that has one.

    Returns:
        Columns `value`, `id` and `frequency`; the value of a freed id is null.

    Raises:
        InputError: If the file is missing, damaged, or does not fit the schema.
    """
    return _read(directory, name, num_values, sha256).select(_COLUMNS)


def read_history(
    directory: Path, name: str, num_values: int, sha256: str | None = None
) -> pl.DataFrame:
    """Read the vocabulary of a column with the history of its ids.

    Args:
        directory: The directory that holds `vocabulary/`.
        name: The column.
        num_values: Number of values by the schema.
        sha256: Checksum of the file by the schema, if that has one.

    Returns:
        Columns `value`, `id`, `frequency`, `since` and `last_day`, sorted by id. The
        file of a data set that extends none has no history: its ids are since 0, and
        `last_day` is null.

    Raises:
        InputError: If the file is missing, damaged, or does not fit the schema.
    """
    vocabulary = _read(directory, name, num_values, sha256).sort("id")
    if _HISTORY[0] in vocabulary.columns:
        return vocabulary
    since, last_day = pl.lit(0, pl.Int32), pl.lit(None, pl.Int32)
    return vocabulary.with_columns(since.alias("since"), last_day.alias("last_day"))


def _read(
    directory: Path, name: str, num_values: int, sha256: str | None
) -> pl.DataFrame:
    path = vocabulary_path(directory, name)
    contents = _read_bytes(path, sha256)
    try:
        vocabulary = pl.read_parquet(io.BytesIO(contents))
    except pl.exceptions.PolarsError as error:
        raise _unreadable(path, error) from None
    has_columns = vocabulary.columns in (_COLUMNS, _COLUMNS + _HISTORY)
    if not has_columns or vocabulary.height != num_values:
        raise InputError(
            f"{path} holds {vocabulary.height} values in columns "
            f"{vocabulary.columns}, expected {num_values} in {_COLUMNS} by the "
            "schema: it belongs to another data set"
        )
    return vocabulary


def read_values(directory: Path, name: str, ids: Sequence[int]) -> dict[int, str]:
    """Return the text of some values of a column, by their ids.

    Args:
        directory: The directory that holds `vocabulary/`.
        name: The column.
        ids: The ids; those that no value has are left out.

    Raises:
        InputError: If the file is missing or no vocabulary.
    """
    wanted = pl.Series(ids, dtype=pl.Int32).implode()
    rows = query(
        directory, name, lambda values: values.filter(pl.col("id").is_in(wanted))
    )
    return {row["id"]: value_text(row["value"]) for row in rows}


def query(
    directory: Path, name: str, select: Callable[[pl.LazyFrame], pl.LazyFrame]
) -> list[dict[str, Any]]:
    """Return some values of a column, without holding all of them in memory.

    Args:
        directory: The directory that holds `vocabulary/`.
        name: The column.
        select: Function that chooses among all values, of which none is null.

    Returns:
        `value`, `id` and `frequency` of each value.

    Raises:
        InputError: If the file is missing or no vocabulary.
    """
    path = vocabulary_path(directory, name)
    try:
        vocabulary = pl.scan_parquet(local_copies.local_copy(path), glob=False)
        values = vocabulary.select(_COLUMNS).filter(pl.col("value").is_not_null())
        return select(values).collect(engine="streaming").to_dicts()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _unreadable(path, error) from None


def value_text(value: str | int) -> str:
    """Return a value as it is in a log; Criteo's are hexadecimal numbers."""
    return value if isinstance(value, str) else f"{value:08x}"


def read_frequencies(
    directory: Path, name: str, sha256: str | None = None
) -> np.ndarray:
    """Return how often each value of a vocabulary occurred, in the order of the file.

    Args:
        directory: The directory that holds `vocabulary/`.
        name: The column.
        sha256: Checksum of the file by the schema, if that has one.

    Raises:
        InputError: If the file is damaged.
        OSError: If the file is missing.
        polars.exceptions.PolarsError: If the file has no frequencies.
    """
    path = local_copies.local_copy(vocabulary_path(directory, name))
    contents = io.BytesIO(checked_bytes(path, sha256))
    return pl.read_parquet(contents, columns=["frequency"])["frequency"].to_numpy()


def read_layout(directory: Path, name: str) -> "pyarrow.parquet.FileMetaData":
    """Return the metadata of a local vocabulary file, without reading its values.

    Raises:
        OSError: If the file is missing.
        pyarrow.ArrowException: If it is no Parquet file.
    """
    import pyarrow.parquet

    return pyarrow.parquet.read_metadata(vocabulary_path(directory, name))


def copy_vocabulary(
    directory: Path, name: str, target: Path, sha256: str | None = None
) -> None:
    """Check the vocabulary of a column and copy it, reading it once.

    Args:
        directory: The directory that holds `vocabulary/`.
        name: The column.
        target: The directory whose `vocabulary/` gets the copy.
        sha256: Checksum of the file by the schema, if that has one.

    Raises:
        InputError: If the file is missing or damaged.
        OSError: If the copy cannot be written.
    """
    contents = _read_bytes(vocabulary_path(directory, name), sha256)
    path = vocabulary_path(target, name)
    path.parent.mkdir(exist_ok=True)
    require_own_file(path, name)
    path.write_bytes(contents)


def _read_bytes(path: Path, sha256: str | None) -> bytes:
    try:
        return checked_bytes(local_copies.local_copy(path), sha256)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = str(error).splitlines()[0]
    return InputError(
        f"{path} cannot be read as a vocabulary ({reason}): prepare the data again"
    )
