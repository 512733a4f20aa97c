"""The default engine: one machine, Polars and NumPy, bounded memory.

The raw text is parsed once and spilled as typed columns. Vocabularies are counted from
the training rows of each spilled column. Every row is encoded and goes to the bucket
that becomes its shard; then the shards are written. Each finished step is in the
journal, so that a run that was stopped can be resumed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from pipelines.ids.column_tables import ColumnTables
from pipelines.ids.counted_files import write_counted
from pipelines.ids.counting import Vocabulary
from pipelines.ids.coverage import CountedFeature
from pipelines.ids.coverage_report import write_coverage
from pipelines.ids.dialect import Dialect
from pipelines.ids.dialects import dialect_of
from pipelines.ids.earlier import Earlier
from pipelines.logs.columns import Columns
from pipelines.logs.inputs import Inputs
from pipelines.logs.opening import open_all
from pipelines.shards.tfrecord import ShardFormat, shard_path, write_shard
from pipelines.stages.buckets import Buckets
from pipelines.stages.building import Building
from pipelines.stages.encoding import Encoder
from pipelines.stages.fitting import with_numbers
from pipelines.stages.piece_encoding import PieceEncoder
from pipelines.stages.prepared import (
    Prepared,
    categorical_features,
    make_buckets,
    make_coverage,
    make_schema,
    make_shard_format,
    read_columns,
    remove_other_shards,
    schema_without_shards,
    with_labels,
)
from pipelines.stages.spill import Spill, spill_columns
from pipelines.stages.split import Split, given_split, num_log_days, split_rows
from pipelines.stages.time_split import split_by_time
from tfdlrm.base.byte_size import parse_byte_size
from tfdlrm.base.kept_files import KeptFile, keep
from tfdlrm.base.parallel import map_in_order, num_cores
from tfdlrm.base.progress import stage
from tfdlrm.config import PrepareConfig
from tfdlrm.data.shards import Shard


def run(
    raw: Sequence[Path],
    building: Building,
    config: PrepareConfig,
    earlier: Earlier | None = None,
) -> Prepared:
    """Turn raw files into the shards and vocabularies of a data set.

    Args:
        raw: Raw files with labels, or folders of them, in order of time.
        building: The directories to write to; the caller writes `schema.json`.
        config: How rows are split, counted and shuffled.
        earlier: What the data set extends.

    Returns:
        The schema of the data set, and what the summary reports.

    Raises:
        InputError: If a file or the split cannot be used.
        InputChangedError: If a file has changed since an earlier run read it.
    """
    raw = Inputs.of(raw)
    columns = read_columns(raw, config, earlier)
    budget = parse_byte_size(config.memory_budget, "memory_budget")
    files = open_all(raw, columns, config.on_bad_row)
    spill = spill_columns(files, building.work, building.journal, columns.transform)
    columns = with_labels(columns, spill)
    spill, split = _split(raw, spill, columns, building, config)
    spill = with_numbers(
        spill, columns, len(split.ranges()["train"]), building.journal, earlier
    )
    dialect = dialect_of(config)
    counting = _Counting(
        dialect,
        dialect.counted_rows(split.ranges()),
        budget // 2,
        num_log_days(split, raw.num_days, config),
        earlier,
        config.forget_days,
    )
    counted_features = _make_vocabularies(spill, columns, building, counting)
    features = categorical_features(counted_features, columns)
    coverage = make_coverage(counted_features, building.directory, dialect, earlier)
    buckets = make_buckets(split, columns, building.work, config)
    pieces = PieceEncoder(columns, split, buckets, coverage)
    kept_files = building.journal.needed_files()
    tables = ColumnTables(
        dialect, building.directory, features, kept_files, building.work
    )
    positives = Encoder(spill, pieces, tables, building.journal, budget).run()
    write_coverage(coverage, config.dialect or "", building.directory)
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
    shards = list(_write_shards(buckets, shard_format, building, budget))
    return Prepared(
        make_schema(schema, shards), positives, spill.skipped, spill.checksums
    )


def _split(
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
        rows = raw.rows_per_input(spill.rows_per_file)
        return spill, split_rows(rows, config)
    return split_by_time(
        spill,
        columns.days_by,
        lambda rows: split_rows(rows, config, are_days=True),
        building.journal,
    )


@dataclass(frozen=True)
class _Counting:
    """How the values of a column are counted and numbered.

    Args:
        dialect: The dialect of the ids.
        rows: Numbers of the rows whose values are counted.
        memory_bytes: Memory that counting may take, in bytes.
        days: Number of days of the log.
        earlier: What the data set extends.
        forget_days: Values that the last days do not have are forgotten.
    """

    dialect: Dialect
    rows: range
    memory_bytes: int
    days: int
    earlier: Earlier | None
    forget_days: int | None

    def vocabulary(
        self, name: str, values: Iterator[pl.Series], work: Path
    ) -> Vocabulary | None:
        """Count the values of a column and number them."""
        column = None
        if self.earlier is not None:
            column = self.earlier.column(name, self.days, self.forget_days)
        return self.dialect.vocabulary(values, self.memory_bytes, work, column)


def _make_vocabularies(
    spill: Spill, columns: Columns, building: Building, counting: _Counting
) -> list[CountedFeature]:
    names = columns.categorical_features
    entries = building.journal.entries("vocabulary")
    features = [CountedFeature(**entry["feature"]) for entry in entries]
    num_rows = len(counting.rows)
    with stage("count values", len(names)) as advance:
        for num_done, name in enumerate(
            names[len(features) :], start=len(features) + 1
        ):
            values = _column(spill, name, num_rows)
            vocabulary = counting.vocabulary(name, values, building.work)
            paths = write_counted(vocabulary, building.directory, building.work, name)
            features.append(counting.dialect.describe(name, vocabulary))
            entry = {
                "feature": asdict(features[-1]),
                "files": building.journal.note(map(keep, paths)),
            }
            building.journal.add("vocabulary", entry)
            advance(num_done, num_rows * num_done // len(names))
    return features


def _column(spill: Spill, name: str, num_rows: int) -> Iterator[pl.Series]:
    """Yield the first `num_rows` values of a column, piece by piece."""
    for number, start in enumerate(spill.starts[:-1]):
        if start < num_rows:
            values = spill.read(number, [name])[name].alias("value")
            values = values.head(num_rows - start)
            is_bag = isinstance(values.dtype, pl.List)
            yield values.explode().drop_nulls() if is_bag else values


def _write_shards(
    buckets: Sequence[Buckets],
    shard_format: ShardFormat,
    building: Building,
    budget: int,
) -> Iterator[Shard]:
    """Write the shards in order, and remove the bucket of each finished shard."""
    entries = building.journal.entries("shard")
    finished = {entry["shard"]["path"]: Shard(**entry["shard"]) for entry in entries}
    record_format = shard_format.record_format
    jobs = [
        (
            bucket,
            index,
            shard_path(bucket.split, index, bucket.num_buckets, record_format),
        )
        for bucket in buckets
        for index in range(bucket.num_buckets)
    ]

    remove_other_shards(building.directory, [path for _, _, path in jobs])

    def write(job: tuple[Buckets, int, str]) -> Shard:
        bucket, index, path = job
        if path in finished:
            return finished[path]
        return write_shard(bucket.take(index), building.directory, path, shard_format)

    num_done = 0
    with stage("write shards", sum(bucket.num_rows for bucket in buckets)) as advance:
        shards = map_in_order(write, jobs, _num_writers(buckets, budget))
        for (bucket, index, path), shard in zip(jobs, shards, strict=True):
            if path not in finished:
                assert shard.crc32c is not None  # it was just written
                file = KeptFile(building.directory / path, shard.bytes, shard.crc32c)
                entry = {
                    "shard": asdict(shard),
                    "files": building.journal.note([file]),
                    "released": [building.journal.name(bucket.path(index))],
                }
                building.journal.add("shard", entry)
            bucket.remove(index)
            num_done += shard.rows
            advance(num_done, num_done)
            yield shard


def _num_writers(buckets: Sequence[Buckets], budget: int) -> int:
    """Return how many threads may each hold a bucket, its permutation and its shard."""
    shard_bytes = 3 * max(bucket.largest_bytes for bucket in buckets)
    return max(1, min(num_cores(), budget // 2 // max(1, shard_bytes)))
