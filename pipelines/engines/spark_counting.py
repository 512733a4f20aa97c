"""Vocabularies on Spark: workers count the values of pieces, Spark adds them up."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

import polars as pl

from pipelines.engines.spark_session import Cluster
from pipelines.engines.spark_values import Values
from pipelines.ids.counted_files import write_counted
from pipelines.ids.counting import EARLIER
from pipelines.ids.coverage import CountedFeature
from pipelines.stages.building import Building
from pipelines.stages.spill import Spill
from tfdlrm.base.kept_files import keep
from tfdlrm.base.progress import stage
from tfdlrm.data.rare_values import write_rare_values

_BATCH_RECORDS = 2**16


def make_vocabularies(
    cluster: Cluster,
    spill: Spill,
    num_rows: int,
    building: Building,
    values: Values,
) -> list[CountedFeature]:
    """Count the values of each column and write the vocabularies.

    Args:
        cluster: The cluster that counts.
        spill: The typed rows.
        num_rows: Number of rows to count, from the first one on.
        building: The data set directory, and the finished steps.
        values: The columns to count.

    Returns:
        The ids of each column, in order.
    """
    names = values.names
    if not values.dialect.traits.has_vocabulary:
        return [values.dialect.describe(name, None) for name in names]
    entry = building.journal.last("vocabularies")
    if entry is None:
        with stage("count values", len(names)) as advance:
            features = _count(cluster, spill, values, num_rows) if names else []
            advance(len(names), num_rows)
        paths = [path for name in names for path in values.paths(name)]
        entry = {
            "features": [asdict(feature) for feature in features],
            "files": building.journal.note(map(keep, paths)),
        }
        building.journal.add("vocabularies", entry)
    return [CountedFeature(**feature) for feature in entry["features"]]


def _count(
    cluster: Cluster, spill: Spill, values: Values, num_rows: int
) -> list[CountedFeature]:
    from pyspark import StorageLevel
    from pyspark.sql import functions as F

    num_pieces = sum(start < num_rows for start in spill.starts[:-1])
    cluster.limit_records(_BATCH_RECORDS)
    count_pieces = partial(_piece_counts, spill, values, num_rows)
    counts = cluster.numbers(num_pieces).mapInArrow(count_pieces, values.spark_schema)
    if values.earlier:
        read_counts = partial(_earlier_counts, values)
        numbers = cluster.numbers(len(values.names))
        counts = counts.union(numbers.mapInArrow(read_counts, values.spark_schema))
    marks = [F.max(name).alias(name) for name in EARLIER if values.earlier]
    counts = counts.groupBy("column", "value").agg(
        F.sum("frequency").alias("frequency"), F.min("first").alias("first"), *marks
    )
    if (last_day := values.last_forgotten_day) is not None:
        is_seen = F.col("last_day") > last_day
        if values.dialect.traits.missing_is_zero:
            is_seen |= F.col("value") == 0
        counts = counts.filter(is_seen)
    counts = counts.persist(StorageLevel.DISK_ONLY)
    has_id = F.col("frequency") >= (values.dialect.min_frequency or 1)
    if values.earlier:
        has_id |= F.col("id").isNotNull()
    by_column = cluster.collect(counts.groupBy("column").count())
    distinct = {row["column"]: row["count"] for row in by_column}
    rows = cluster.collect(
        counts.filter(has_id)
        .repartition(len(values.names), "column")
        .sortWithinPartitions("column")
        .mapInArrow(partial(_write, values, distinct), "column int, feature string")
    )
    if values.dialect.keeps_rare_values:
        for name in values.names:  # Spark lacks the columns that have none
            write_rare_values([values.no_rare_values], values.directory, name)
        cluster.collect(
            counts.filter(~has_id)
            .repartition(len(values.names), "column")
            .sortWithinPartitions("column", "value")
            .mapInArrow(partial(_write_rare, values), "column int")
        )
    counts.unpersist()
    return _in_order(values, distinct, [(row[0], row[1]) for row in rows])


def _piece_counts(
    spill: Spill, values: Values, num_rows: int, batches: Iterator[Any]
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


def _earlier_counts(values: Values, batches: Iterator[Any]) -> Iterator[Any]:
    """Read the counts of all values in what is extended."""
    first = pl.lit(None, pl.Int64).alias("first")
    for batch in batches:
        for number in batch.column(0).to_pylist():
            for counts in values.earlier[number].counts():
                yield values.batch(counts.with_columns(first), number)


def _column_counts(raw: pl.Series, column: int, start: int, values: Values) -> Any:
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
    )
    if values.earlier:
        no_id = pl.lit(None, pl.Int32)
        last_day = pl.lit(values.earlier[column].last_day, pl.Int32)
        table = table.with_columns(id=no_id, since=no_id, last_day=last_day)
    return values.batch(table, column)


def _write_rare(values: Values, batches: Iterator[Any]) -> Iterator[Any]:
    """Write the rare values of the columns of a partition, as they come."""
    import pyarrow as pa

    pieces = (
        (number, part)
        for batch in batches
        for (number,), part in pl.DataFrame(batch).group_by(
            "column", maintain_order=True
        )
    )
    for number, parts in groupby(pieces, key=itemgetter(0)):
        names = values.no_rare_values.columns
        counts = (values.typed(part).select(names) for _, part in parts)
        write_rare_values(counts, values.directory, values.names[number])
        yield pa.RecordBatch.from_pydict({"column": pa.array([number], pa.int32())})


def _write(
    values: Values, distinct: dict[int, int], batches: Iterator[Any]
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
    values: Values, distinct: dict[int, int], column: int, counts: pl.DataFrame
) -> str:
    """Write a vocabulary, and return its `CountedFeature` as JSON."""
    name, dialect = values.names[column], values.dialect
    earlier = values.earlier[column] if values.earlier else None
    vocabulary = dialect.number(values.typed(counts), earlier)
    vocabulary = replace(vocabulary, num_distinct=distinct.get(column, 0))
    write_counted(vocabulary, values.directory, values.work, name)
    return json.dumps(asdict(values.dialect.describe(name, vocabulary)))


def _in_order(
    values: Values,
    distinct: dict[int, int],
    features_by_column: Sequence[tuple[int, str]],
) -> list[CountedFeature]:
    """Return all columns in order; write the empty vocabularies, which Spark lacks."""
    features = dict(features_by_column)
    for column in range(len(values.names)):
        if column not in features:
            features[column] = _write_one(values, distinct, column, values.no_counts)
    return [
        CountedFeature(**json.loads(features[column]))
        for column in range(len(values.names))
    ]
