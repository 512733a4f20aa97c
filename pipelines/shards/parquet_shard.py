"""Shards in Parquet, a column for every feature, as other tools read and write them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from pipelines.ids.encoded_rows import EncodedRows
from pipelines.logs.columns import Columns
from tfdlrm.base.checksums import file_crc32c, file_sha256
from tfdlrm.base.storage import whole
from tfdlrm.data.parquet_files import column_problem, column_types
from tfdlrm.data.schema import ROW_GROUP_ROWS, FeatureSchema, Shard


def write_parquet_shard(
    rows: EncodedRows, directory: Path, path: str, columns: Columns
) -> Shard:
    """Write `rows` as one Parquet file, whole or not at all.

    Args:
        rows: The rows.
        directory: The data set directory.
        path: Where the file goes, relative to it.
        columns: Names of the features, none of them multi-hot.

    Returns:
        The file's entry in the schema.

    Raises:
        OSError: If the file cannot be written.
    """
    target = directory / path
    values = {columns.label: rows.fixed["label"]}
    for names, field in (
        (columns.dense_features, "dense_features"),
        (columns.single_hot, "categorical_features"),
    ):
        values |= {name: rows.fixed[field][:, i] for i, name in enumerate(names)}
    arrays = {name: np.ascontiguousarray(column) for name, column in values.items()}
    with whole(target) as aside:
        pa_parquet.write_table(pa.table(arrays), aside, row_group_size=ROW_GROUP_ROWS)
        checksums = file_sha256(aside), file_crc32c(aside)
    return Shard(path, len(rows), target.stat().st_size, *checksums)


def check_parquet(path: Path, schema: FeatureSchema) -> int:
    """Check a shard against the schema of its data set.

    Returns:
        Number of rows in it.

    Raises:
        ValueError: If it cannot be read, or is anything else than what the schema says.
    """
    expected = column_types(schema)
    sizes = dict(zip(schema.single_hot, schema.vocabulary_sizes, strict=True))
    try:
        with path.open("rb") as opened, pa_parquet.ParquetFile(opened) as file:
            problem = column_problem(file.schema_arrow, expected)
            if problem:
                raise ValueError(problem)
            for each in file.schema_arrow:
                if each.name not in expected:
                    raise ValueError(
                        f"column {each.name} is {each.type}, expected none of that name"
                    )
            for batch in file.iter_batches(ROW_GROUP_ROWS):
                for name, column in zip(batch.schema.names, batch.columns, strict=True):
                    _check_values(name, column, sizes)
            return int(file.metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def _check_values(name: str, column: pa.Array, sizes: dict[str, int]) -> None:
    if column.null_count:
        raise ValueError(f"column {name} has missing values, expected none")
    values = column.to_numpy()
    if name in sizes and ((values < 0) | (values >= sizes[name])).any():
        raise ValueError(
            f"{name} has ids from {values.min()} to {values.max()}, expected 0 to "
            f"{sizes[name] - 1}"
        )
