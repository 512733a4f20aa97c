"""Vocabularies on Spark: workers count the values of pieces, Spark adds them up."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.engines.spark_session import Cluster
from pipelines.ids.counting import Vocabulary, with_ids
from pipelines.ids.coverage import CountedFeature
from pipelines.ids.dialects import Dialect
from pipelines.logs.columns import Columns
from pipelines.stages.building import Building
from pipelines.stages.spill import Spill
from tfdlrm.base.kept_files import keep
from tfdlrm.base.progress import stage
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.vocabulary_files import write_vocabulary

_BATCH_RECORDS = 2**16


@dataclass(frozen=True)
class _Values:
    """The columns whose values are counted and numbered.

    Args:
        names: The columns.
        is_text: Whether values are text; 32-bit numbers otherwise.
        dialect: Numbers the values.
        directory: The data set directory.
    """

    names: tuple[str, ...]
    is_text: bool
    dialect: Dialect
    directory: Path

    @property
    def spark_type(self) -> str:
        """The type of values in Spark."""
        return "string" if self.is_text else "long"


def make_vocabularies(
    cluster: Cluster,
    spill: Spill,
    columns: Columns,
    dialect: Dialect,
    num_rows: int,
    building: Building,
) -> list[CountedFeature]:
    """Count the values of each column and write the vocabularies.

    Args:
        cluster: The cluster that counts.
        spill: The typed rows.
        columns: Their columns.
        dialect: Numbers the values.
        num_rows: Number of rows to count, from the first one on.
        building: The data set directory, and the finished steps.

    Returns:
        The ids of each column, in order.
    """
    names = columns.categorical_features
    if not dialect.traits.has_vocabulary:
        return [dialect.describe(name, None) for name in names]
    entry = building.journal.last("vocabularies")
    if entry is None:
        values = _Values(names, not columns.is_criteo, dialect, building.directory)
        with stage("count values", len(names)) as advance:
            features = _count(cluster, spill, values, num_rows) if names else []
            advance(len(names), num_rows)
        paths = [vocabulary_path(building.directory, name) for name in names]
        entry = {
            "features": [asdict(feature) for feature in features],
            "files": building.journal.note(keep(path) for path in paths),
        }
        building.journal.add("vocabularies", entry)
    return [CountedFeature(**feature) for feature in entry["features"]]


def _count(
    cluster: Cluster, spill: Spill, values: _Values, num_rows: int
) -> list[CountedFeature]:
    from pyspark import StorageLevel
    from pyspark.sql import functions as F

    num_pieces = sum(start < num_rows for start in spill.starts[:-1])
    cluster.limit_records(_BATCH_RECORDS)
    counts = (
        cluster.numbers(num_pieces)
        .mapInArrow(
            partial(_piece_counts, spill, values, num_rows),
            f"column int, value {values.spark_type}, frequency long, first long",
        )
        .groupBy("column", "value")
        .agg(F.sum("frequency").alias("frequency"), F.min("first").alias("first"))
        .persist(StorageLevel.DISK_ONLY)
    )
    by_column = cluster.collect(counts.groupBy("column").count())
    distinct = {row["column"]: row["count"] for row in by_column}
    order = [
        F.desc(column) if descends else F.asc(column)
        for column, descends in values.dialect.order
    ]
    rows = cluster.collect(
        counts.filter(F.col("frequency") >= (values.dialect.min_frequency or 1))
        .repartition(len(values.names), "column")
        .sortWithinPartitions("column", *order)
        .mapInArrow(partial(_write, values, distinct), "column int, feature string")
    )
    counts.unpersist()
    return _in_order(values, distinct, [(row[0], row[1]) for row in rows])


def _piece_counts(
    spill: Spill, values: _Values, num_rows: int, batches: Iterator[Any]
) -> Iterator[Any]:
    """Count how often each value of a piece occurs, and note its first row."""
    for batch in batches:
        for number in batch.column(0).to_pylist():
            start = spill.starts[number]
            frame = spill.read(number, values.names)
            frame = frame.head(num_rows - start)
            for column, name in enumerate(values.names):
                raw = frame[name].alias("value")
                yield _column_counts(raw, column, start, values)


def _column_counts(raw: pl.Series, column: int, start: int, values: _Values) -> Any:
    import pyarrow as pa

    raw = raw.explode() if isinstance(raw.dtype, pl.List) else raw
    frame = values.dialect.values_to_count(raw).alias("value").to_frame()
    table = (
        frame.with_row_index("first")
        .drop_nulls()
        .group_by("value")
        .agg(
            pl.len().alias("frequency"),
            pl.col("first").min().cast(pl.Int64) + start,
        )
        .select(pl.lit(column).alias("column"), "value", "frequency", "first")
    )
    value_type = pa.string() if values.is_text else pa.int64()
    types = (pa.int32(), value_type, pa.int64(), pa.int64())
    schema = pa.schema(list(zip(table.columns, types, strict=True)))
    # Not `to_batches`, which returns no batch where there are no rows.
    columns = table.to_arrow().cast(schema).columns
    arrays = [column.combine_chunks() for column in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _write(
    values: _Values, distinct: dict[int, int], batches: Iterator[Any]
) -> Iterator[Any]:
    """Write the vocabularies of the columns of a partition, one after the other."""
    import pyarrow as pa

    for column, counts in _by_column(batches):
        features = [_write_one(values, distinct, column, counts)]
        yield pa.RecordBatch.from_pydict(
            {"column": pa.array([column], pa.int32()), "feature": pa.array(features)}
        )


def _by_column(batches: Iterator[Any]) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield the rows of each column together, from batches sorted by column."""
    parts: list[pl.DataFrame] = []
    for batch in batches:
        frame = pl.DataFrame(batch)
        for (column,), part in frame.group_by("column", maintain_order=True):
            if parts and parts[-1]["column"][0] != column:
                yield parts[-1]["column"][0], pl.concat(parts)
                parts = []
            parts.append(part)
    if parts:
        yield parts[-1]["column"][0], pl.concat(parts)


def _write_one(
    values: _Values, distinct: dict[int, int], column: int, counts: pl.DataFrame
) -> str:
    """Write a vocabulary, and return its `CountedFeature` as JSON."""
    name = values.names[column]
    value_type = pl.String if values.is_text else pl.UInt32
    numbered = with_ids(
        counts.with_columns(pl.col("value").cast(value_type)),
        values.dialect.traits.first_id,
    )
    write_vocabulary(numbered, values.directory, name)
    vocabulary = Vocabulary(numbered, distinct.get(column, 0))
    return json.dumps(asdict(values.dialect.describe(name, vocabulary)))


def _in_order(
    values: _Values,
    distinct: dict[int, int],
    features_by_column: Sequence[tuple[int, str]],
) -> list[CountedFeature]:
    """Return all columns in order; write the empty vocabularies, which Spark lacks."""
    features = dict(features_by_column)
    no_counts = pl.DataFrame(
        schema={"value": pl.UInt32, "frequency": pl.Int64, "first": pl.Int64}
    )
    for column in range(len(values.names)):
        if column not in features:
            features[column] = _write_one(values, distinct, column, no_counts)
    return [
        CountedFeature(**json.loads(features[column]))
        for column in range(len(values.names))
    ]
