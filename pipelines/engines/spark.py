"""The Spark engine: the steps of the local engine, spread over a cluster's machines.

Every machine sees the raw files and the data set under the same paths. The functions
are those of `engines/local.py`: the same Polars and NumPy code parses, counts and
encodes a piece of typed rows on any machine. Spark hands out the pieces (`mapInArrow`
over their numbers), adds up the counts of values, and brings the rows of each bucket
together. The driver holds a few numbers for each piece and nothing for each row.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.engines.spark_counting import make_vocabularies
from pipelines.engines.spark_encoding import Encoding, keep_ids
from pipelines.engines.spark_reading import read_rows
from pipelines.engines.spark_session import Cluster, cluster
from pipelines.engines.spark_shuffle import write_shards
from pipelines.engines.spark_values import Values
from pipelines.ids.column_tables import ColumnTables
from pipelines.ids.coverage_report import write_coverage
from pipelines.ids.dialects import dialect_of
from pipelines.ids.earlier import Earlier
from pipelines.logs.checksums import InputChangedError
from pipelines.logs.columns import Columns
from pipelines.logs.inputs import Inputs
from pipelines.logs.values import KEYS_PER_DAY
from pipelines.stages.building import Building
from pipelines.stages.fitting import PieceStatistics, with_numbers
from pipelines.stages.journal import Journal
from pipelines.stages.piece_encoding import PieceEncoder, table_groups
from pipelines.stages.prepared import (
    Prepared,
    categorical_features,
    make_buckets,
    make_coverage,
    make_schema,
    make_shard_format,
    read_columns,
    schema_without_shards,
    with_labels,
)
from pipelines.stages.spill import Spill
from pipelines.stages.split import Split, given_split, num_log_days, split_rows
from pipelines.stages.time_split import (
    PieceKeys,
    distribute,
    find_cuts,
    in_split_order,
    piece_keys,
)
from tfdlrm.base import storage
from tfdlrm.base.byte_size import parse_byte_size
from tfdlrm.base.progress import stage
from tfdlrm.config import PrepareConfig
from tfdlrm.data.number_statistics import NumberStatistics

_MAX_SUMS = 32
"""Sums of statistics that the driver holds at once, of up to 16 MiB each."""


def run(
    raw: Sequence[Path],
    building: Building,
    config: PrepareConfig,
    earlier: Earlier | None = None,
) -> Prepared:
    """Turn raw files into the shards and vocabularies of a data set.

    The data set is that of the local engine, byte for byte.

    Args:
        raw: Raw files with labels, in order of time.
        building: The directories to write to; the caller writes `schema.json`.
        config: How rows are split, counted and shuffled, and by which cluster.
        earlier: What the data set extends.

    Returns:
        The schema of the data set, and what the summary reports.

    Raises:
        InputError: If a file, the split or the cluster cannot be used.
        InputChangedError: If a file has changed since an earlier run read it.
    """
    raw = Inputs.of(raw)
    columns = read_columns(raw, config, earlier)
    if earlier is not None and not storage.is_remote(earlier.directory):
        # Workers may run in another directory.
        earlier = replace(earlier, directory=earlier.directory.absolute())
    with cluster(config) as workers:
        return _run(workers, raw, columns, building, config, earlier)


def _run(
    workers: Cluster,
    raw: Inputs,
    columns: Columns,
    building: Building,
    config: PrepareConfig,
    earlier: Earlier | None,
) -> Prepared:
    spill = read_rows(workers, raw, columns, building.work, config)
    _require_same(raw, spill.checksums, building.journal)
    columns = with_labels(columns, spill)
    spill, split = _split(workers, raw, spill, columns, building, config)
    num_rows = len(split.ranges()["train"])
    sum_up = partial(_sums_of_pieces, workers)
    spill = with_numbers(spill, columns, num_rows, building.journal, earlier, sum_up)
    dialect = dialect_of(config)
    days = num_log_days(split, raw.num_days, config)
    counted_features = make_vocabularies(
        workers,
        spill,
        len(dialect.counted_rows(split.ranges())),
        building,
        Values.of(columns, dialect, building, earlier, days, config.forget_days),
    )
    features = categorical_features(counted_features, columns)
    buckets = make_buckets(split, columns, building.work, config)
    budget = parse_byte_size(config.memory_budget, "memory_budget")
    kept_files = building.journal.needed_files()
    tables = ColumnTables(
        dialect, building.directory, features, kept_files, building.work
    )
    encoding = Encoding(
        spill,
        PieceEncoder(
            columns,
            split,
            buckets,
            make_coverage(counted_features, building.directory, dialect, earlier),
        ),
        tables,
        table_groups(tables.sizes, budget // 2 // workers.workers_here),
        run=uuid.uuid4().hex,
    )
    keep_ids(workers, encoding)
    schema = schema_without_shards(
        columns,
        counted_features,
        split,
        building.directory,
        config,
        raw.num_days,
        earlier,
        spill.transforms,
    )
    shard_format = make_shard_format(schema, columns)
    shards, positives, coverage = write_shards(
        workers, encoding, building.work, shard_format
    )
    write_coverage(coverage, config.dialect or "", building.directory)
    return Prepared(
        make_schema(schema, shards), positives, spill.skipped, spill.checksums
    )


def _require_same(
    raw: Sequence[Path], checksums: Sequence[str], journal: Journal
) -> None:
    """Refuse to resume a run on other raw files.

    A part whose own checksum is lost is read again, and its file may have changed.
    """
    entry = journal.last("raw")
    if entry is None:
        journal.add("raw", {"sha256": [*checksums]})
        return
    for path, old_checksum, checksum in zip(
        raw, entry["sha256"], checksums, strict=True
    ):
        if old_checksum != checksum:
            raise InputChangedError(path)


def _split(
    workers: Cluster,
    raw: Inputs,
    spill: Spill,
    columns: Columns,
    building: Building,
    config: PrepareConfig,
) -> tuple[Spill, Split]:
    """Return the rows in the order of their splits, and the split."""
    if raw.splits:
        return spill, given_split(raw.rows_per_split(spill.rows_per_file))
    if columns.days_by is None:
        counts = raw.rows_per_input(spill.rows_per_file)
        return spill, split_rows(counts, config)

    def map_keys(function: Callable[[PieceKeys], Any]) -> Iterable[Any]:
        return workers.map(partial(_map_keys, spill, function), len(spill.pieces))

    split_days = partial(split_rows, config=config, are_days=True)
    cuts = building.journal.last("time cuts")
    if cuts is None:
        keys_per_day = KEYS_PER_DAY[columns.days_by.kind]
        cuts = find_cuts(map_keys, keys_per_day, split_days)
        building.journal.add("time cuts", cuts)
    with stage("split by time", spill.starts[-1]) as advance:
        parts = workers.map(partial(distribute, spill, cuts=cuts), len(spill.pieces))
        advance(spill.starts[-1], spill.starts[-1])
    split = split_days(cuts["rows_per_day"])
    return in_split_order(spill, parts), split


def _map_keys(spill: Spill, function: Callable[[PieceKeys], Any], number: int) -> Any:
    return function(piece_keys(spill, number))


def _sums_of_pieces(
    workers: Cluster, of_piece: PieceStatistics, numbers: range
) -> Iterable[NumberStatistics]:
    """Return as many sums of statistics as the cluster works on at once, or less."""
    num_tasks = min(len(numbers), workers.parallelism, _MAX_SUMS)
    return workers.map(partial(_sum_of_task, of_piece, numbers, num_tasks), num_tasks)


def _sum_of_task(
    of_piece: PieceStatistics, numbers: range, num_tasks: int, task: int
) -> NumberStatistics:
    return NumberStatistics.sum(map(of_piece, numbers[task::num_tasks]))
