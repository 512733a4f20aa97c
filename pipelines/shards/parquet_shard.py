"""Shards in Parquet, with a column for every feature, which other tools read too."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from pipelines.ids.encoded_rows import EncodedRows
from pipelines.logs.columns import Columns
from tfdlrm.base.checksums import file_crc32c, file_sha256
from tfdlrm.base.storage import whole
from tfdlrm.data.block_format import DENSE, IDS, LABEL
from tfdlrm.data.parquet_files import column_problem, column_types
from tfdlrm.data.schema import ROW_GROUP_ROWS, FeatureSchema
from tfdlrm.data.shards import Shard


def write_parquet_shard(
    rows: EncodedRows, directory: Path, path: str, columns: Columns
) -> Shard:
    """Write `rows` as one Parquet file, complete or not at all.

    Args:
        rows: The rows.
        directory: The data set directory.
        path: Path of the file, relative to it.
        columns: Names of the features, none of them multi-hot.

    Returns:
        The file's entry in the schema.

    Raises:
        OSError: If the file cannot be written.
    """
    target = directory / path
    values = {columns.label: rows.fixed[LABEL]}
    for names, field in ((columns.dense_features, DENSE), (columns.single_hot, IDS)):
        values |= {name: rows.fixed[field][:, i] for i, name in enumerate(names)}
    arrays = {name: np.ascontiguousarray(column) for name, column in values.items()}
    table = pa.table(arrays)
    with whole(target) as temporary:
        pa_parquet.write_table(table, temporary, row_group_size=ROW_GROUP_ROWS)
        checksums = file_sha256(temporary), file_crc32c(temporary)
    return Shard(path, len(rows), target.stat().st_size, *checksums)


def check_parquet(path: Path, schema: FeatureSchema) -> int:
    """Check a shard against the schema of its data set.

    Returns:
        Number of rows in it.

    Raises:
        ValueError: If it cannot be read, or does not agree with the schema.
    """
    expected = column_types(schema)
    sizes = dict(zip(schema.single_hot, schema.vocabulary_sizes, strict=True))
    try:
        with path.open("rb") as stream, pa_parquet.ParquetFile(stream) as file:
            problem = column_problem(file.schema_arrow, expected)
            if problem:
                raise ValueError(problem)
            for field in file.schema_arrow:
                if field.name not in expected:
                    raise ValueError(
                        f"column {field.name} is {field.type}, "
                        "expected none of that name"
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
