"""Vocabularies on Spark: values are counted where they are, and added up by Spark."""

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
from pipelines.stages.journal import Journal
from pipelines.stages.spill import Spill
from tfdlrm.base.kept_files import keep
from tfdlrm.base.progress import stage
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.vocabulary_files import write_vocabulary

_BATCH_RECORDS = 2**16


@dataclass(frozen=True)
class _Values:
    """How the values of all columns are counted and numbered.

    Args:
        names: The columns.
        is_text: Whether values are text; 32-bit numbers otherwise.
        rule: The dialect.
        directory: The data set directory.
    """

    names: tuple[str, ...]
    is_text: bool
    rule: Dialect
    directory: Path

    @property
    def kind(self) -> str:
        """The type of values in Spark."""
        return "string" if self.is_text else "long"


def make_vocabularies(
    cluster: Cluster,
    spill: Spill,
    columns: Columns,
    rule: Dialect,
    num_rows: int,
    directory: Path,
    journal: Journal,
) -> list[CountedFeature]:
    """Count the values of each column and write the vocabularies.

    Args:
        cluster: Where to do it.
        spill: The typed rows.
        columns: What their columns are.
        rule: The dialect.
        num_rows: Of how many rows, from the first on.
        directory: The data set directory.
        journal: What an earlier run has finished.

    Returns:
        What there is to say of each column, in order.
    """
    names = columns.categorical_features
    if not rule.counted_splits:
        return [rule.describe(name, None) for name in names]
    noted = journal.last("vocabularies")
    if noted is None:
        values = _Values(names, not columns.is_criteo, rule, directory)
        with stage("count values", len(names)) as advance:
            features = _count(cluster, spill, values, num_rows) if names else []
            advance(len(names), num_rows)
        paths = [vocabulary_path(directory, name) for name in names]
        noted = {
            "features": [asdict(each) for each in features],
            "files": journal.note(keep(path) for path in paths),
        }
        journal.add("vocabularies", noted)
    return [CountedFeature(**each) for each in noted["features"]]


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
            f"column int, value {values.kind}, frequency long, first long",
        )
        .groupBy("column", "value")
        .agg(F.sum("frequency").alias("frequency"), F.min("first").alias("first"))
        .persist(StorageLevel.DISK_ONLY)
    )
    by_column = cluster.collect(counts.groupBy("column").count())
    distinct = {row["column"]: row["count"] for row in by_column}
    order = [
        F.desc(column) if descends else F.asc(column)
        for column, descends in values.rule.order
    ]
    written = cluster.collect(
        counts.filter(F.col("frequency") >= (values.rule.min_frequency or 1))
        .repartition(len(values.names), "column")
        .sortWithinPartitions("column", *order)
        .mapInArrow(partial(_write, values, distinct), "column int, feature string")
    )
    counts.unpersist()
    return _in_order(values, distinct, [(row[0], row[1]) for row in written])


def _piece_counts(
    spill: Spill, values: _Values, num_rows: int, batches: Iterator[Any]
) -> Iterator[Any]:
    """How often each value of a piece occurs in it, and in which row first."""
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
    counted = values.rule.counted(raw).alias("value").to_frame()
    table = (
        counted.with_row_index("first")
        .drop_nulls()
        .group_by("value")
        .agg(
            pl.len().alias("frequency"),
            pl.col("first").min().cast(pl.Int64) + start,
        )
        .select(pl.lit(column).alias("column"), "value", "frequency", "first")
    )
    kind = pa.string() if values.is_text else pa.int64()
    types = (pa.int32(), kind, pa.int64(), pa.int64())
    schema = pa.schema(list(zip(table.columns, types, strict=True)))
    # Not `to_batches`, which gives none where there are no rows.
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
    """The rows of each column together, where they come sorted by column."""
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
    """Write a vocabulary; what there is to say of it, as JSON."""
    name = values.names[column]
    kind = pl.String if values.is_text else pl.UInt32
    numbered = with_ids(
        counts.with_columns(pl.col("value").cast(kind)), values.rule.first_id
    )
    write_vocabulary(numbered, values.directory, name)
    vocabulary = Vocabulary(numbered, distinct.get(column, 0))
    return json.dumps(asdict(values.rule.describe(name, vocabulary)))


def _in_order(
    values: _Values, distinct: dict[int, int], written: Sequence[tuple[int, str]]
) -> list[CountedFeature]:
    """What was said of each column; one without any value kept is written here."""
    features = dict(written)
    nothing = pl.DataFrame(
        schema={"value": pl.UInt32, "frequency": pl.Int64, "first": pl.Int64}
    )
    for column in range(len(values.names)):
        if column not in features:
            features[column] = _write_one(values, distinct, column, nothing)
    return [
        CountedFeature(**json.loads(features[column]))
        for column in range(len(values.names))
    ]
