"""Files with the counts of rare values, so that a later data set can go on counting.

The file of a column holds the values that were counted and are too rare for an id:
`value`, `frequency`, and in a data set that extends another `last_day`, as in
`tfdlrm.data.vocabulary_files`. Values are in ascending order, in groups of a fixed
number of rows, so that neighbours are stored as small differences and the bytes depend
on nothing but the counts.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet

from tfdlrm.base import local_copies, storage
from tfdlrm.base.checksums import checked_bytes, file_sha256
from tfdlrm.base.errors import InputError
from tfdlrm.data.column_files import file_name, require_own_file

FOLDER = "rare_values"
"""Folder next to the schema, in data sets and in exported models."""

LAST_DAY = "last_day"

_GROUP_ROWS = 2**18
_COLUMNS = ["value", "frequency"]


def rare_values_path(directory: Path, name: str) -> Path:
    """Return the file of a column of a data set or of an exported model."""
    return storage.at(directory) / FOLDER / f"{file_name(name)}.parquet"


def write_rare_values(
    counts: Iterable[pl.DataFrame], directory: Path, name: str
) -> None:
    """Write the rare values of column `name` below a data set directory, or nothing.

    The caller waits for the disk, by `tfdlrm.base.kept_files.keep`.

    Args:
        counts: One or more frames, which follow each other in ascending order: `value`
            (UInt32 or String), `frequency` (Int64), and perhaps `last_day` (Int32).
        directory: The data set directory.
        name: The column.
    """
    path = rare_values_path(directory, name)
    path.parent.mkdir(exist_ok=True)
    require_own_file(path, name)
    groups = _groups(counts)
    first_group = next(groups)
    with (
        storage.whole(path, is_kept=True) as temporary,
        _writer(temporary, first_group.schema) as writer,
    ):
        writer.write_table(first_group, _GROUP_ROWS)
        for group in groups:
            writer.write_table(group, _GROUP_ROWS)


def _groups(counts: Iterable[pl.DataFrame]) -> Iterator[pa.Table]:
    """Yield all rows in groups of `_GROUP_ROWS`, the last one of which may be short."""
    rows: pl.DataFrame | None = None
    for frame in counts:
        rows = frame if rows is None else pl.concat([rows, frame])
        while rows.height > _GROUP_ROWS:
            yield _as_table(rows.head(_GROUP_ROWS))
            rows = rows.tail(-_GROUP_ROWS)
    assert rows is not None
    yield _as_table(rows)


def _as_table(rows: pl.DataFrame) -> pa.Table:
    value_type = pa.uint32() if rows.schema["value"] == pl.UInt32 else pa.string()
    types = {"value": value_type, "frequency": pa.int64(), LAST_DAY: pa.int32()}
    schema = pa.schema([(name, types[name]) for name in rows.columns])
    return rows.to_arrow().cast(schema).combine_chunks()


def _writer(path: Path, schema: pa.Schema) -> pa.parquet.ParquetWriter:
    is_text = schema.field("value").type == pa.string()
    encoding = "DELTA_BYTE_ARRAY" if is_text else "DELTA_BINARY_PACKED"
    return pa.parquet.ParquetWriter(
        path,
        schema,
        version="2.6",
        compression="zstd",
        use_dictionary=[name for name in schema.names if name != "value"],
        column_encoding={"value": encoding},
        write_statistics=False,
    )


def read_rare_values(
    directory: Path, name: str, sha256: str | None = None
) -> Iterator[pl.DataFrame] | None:
    """Read the rare values of a column of a data set or of an exported model.

    Args:
        directory: The directory that holds `rare_values/`.
        name: The column.
        sha256: Checksum of the file by the schema, if that has one.

    Returns:
        The frames that `write_rare_values` wrote, group by group; `None` if there is no
        file, as in data sets of earlier releases.

    Raises:
        InputError: If the file is damaged, or missing although it has a checksum.
    """
    path = rare_values_path(directory, name)
    try:
        if sha256 is None and not path.is_file():
            return None
        local_path = local_copies.local_copy(path)
        if sha256 is not None and file_sha256(local_path) != sha256:
            raise InputError(
                f"{path} is not what its checksum {sha256} says: it is damaged; remove "
                "the data set or model and make it again"
            )
        file = pa.parquet.ParquetFile(local_path)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from None
    names = file.schema_arrow.names
    if names not in (_COLUMNS, [*_COLUMNS, LAST_DAY]):
        raise _unreadable(path, ValueError(f"columns {', '.join(names)}"))
    return _frames(file, path)


def _frames(file: pa.parquet.ParquetFile, path: Path) -> Iterator[pl.DataFrame]:
    with file:
        for number in range(file.num_row_groups):
            try:
                table = file.read_row_group(number)
            except (OSError, pa.ArrowException) as error:
                raise _unreadable(path, error) from None
            frame = pl.from_arrow(table)
            assert isinstance(frame, pl.DataFrame)
            yield frame


def copy_rare_values(
    directory: Path, name: str, target: Path, sha256: str | None = None
) -> None:
    """Check the rare values of a column and copy them, if there are any.

    Args:
        directory: The directory that holds `rare_values/`.
        name: The column.
        target: The directory whose `rare_values/` gets the copy.
        sha256: Checksum of the file by the schema, if that has one.

    Raises:
        InputError: If the file is damaged, or missing although it has a checksum.
        OSError: If the copy cannot be written.
    """
    path = rare_values_path(directory, name)
    if sha256 is None and not path.is_file():
        return
    try:
        contents = checked_bytes(local_copies.local_copy(path), sha256)
    except OSError as error:
        raise _unreadable(path, error) from None
    copy = rare_values_path(target, name)
    copy.parent.mkdir(exist_ok=True)
    require_own_file(copy, name)
    copy.write_bytes(contents)


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = str(error).splitlines()[0]
    return InputError(
        f"{path} cannot be read as counts of rare values ({reason}): make the data set "
        "or model again"
    )
