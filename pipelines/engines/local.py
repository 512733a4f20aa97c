"""The default engine: one machine, Polars and NumPy, bounded memory.

The raw text is parsed once and spilled as typed columns; the training part of each
spilled column gives its vocabulary; every row is encoded and goes to the bucket that
becomes its shard; then the shards are written. Each finished piece of work is in the
journal, so that a run that was stopped goes on from there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path

import polars as pl

from pipelines.bad_rows import SkippedRows
from pipelines.buckets import Buckets
from pipelines.building import Building
from pipelines.columns import Columns
from pipelines.columns_file import load_columns
from pipelines.coverage import CountedFeature, Coverage
from pipelines.coverage_report import write_coverage
from pipelines.dialects import Dialect, dialect
from pipelines.encoding import Encoder
from pipelines.logs import open_log
from pipelines.parallel import map_in_order, num_cores
from pipelines.progress import stage
from pipelines.raw import RawFile
from pipelines.spill import LogSource, Spill, spill_columns
from pipelines.split import Split, num_days, split_rows
from pipelines.tfrecord import row_type, shard_path, write_shard
from pipelines.time_split import split_by_time
from pipelines.vocabulary import write_vocabulary
from tfdlrm.byte_size import parse_byte_size
from tfdlrm.config import PrepareConfig
from tfdlrm.errors import InputError
from tfdlrm.schema import CategoricalFeature, FeatureSchema, Shard

BLOCK_ROWS = 2048


@dataclass(frozen=True)
class Prepared:
    """What a run of the engine made.

    Args:
        schema: The schema, without its source.
        positives: Number of rows with label 1 in each split.
        skipped: Malformed rows that were left out.
        checksums: SHA-256 of each raw file.
    """

    schema: FeatureSchema
    positives: dict[str, int]
    skipped: SkippedRows
    checksums: tuple[str, ...]


def run(raw: Sequence[Path], place: Building, config: PrepareConfig) -> Prepared:
    """Turn raw files into the shards and vocabularies of a data set.

    Args:
        raw: Raw files with labels, in order of time.
        place: Where to write; `schema.json` is left to the caller.
        config: How rows are split, counted and shuffled.

    Returns:
        The schema of the data set and what is worth telling about it.

    Raises:
        InputError: If a file or the split cannot be used.
        InputChangedError: If what an earlier run has read is not there now.
    """
    columns = load_columns(config.columns) if config.columns else Columns.criteo()
    if columns.days_by is None:
        num_days(len(raw), config)  # refuses before any work is done
    budget = parse_byte_size(config.memory_budget, "memory_budget")
    files = [_labelled_file(path, columns, config) for path in raw]
    spill = spill_columns(files, place.work, place.journal, columns.transformed)
    spill, split = _split(spill, columns, place, config)
    rule = dialect(config)
    counted = _make_vocabularies(spill, split, columns, place, rule, budget)
    features = tuple(
        CategoricalFeature(each.name, each.num_ids, each.name in columns.multi_hot)
        for each in counted
    )
    coverage = Coverage(counted)
    buckets = _buckets(split, columns, place, config)
    encoder = Encoder(
        spill,
        split,
        columns,
        features,
        rule,
        buckets,
        coverage,
        place.directory,
        place.journal,
        budget,
    )
    positives = encoder.run()
    write_coverage(coverage, config.dialect, place.directory)
    schema = FeatureSchema(
        label=columns.label,
        dense_features=columns.dense_features,
        categorical_features=features,
        untransformed=columns.untransformed,
        dialect=config.dialect,
        min_frequency=config.min_frequency,
        max_index_range=config.max_index_range,
        hash_buckets=config.hash_buckets,
        reserved_ids=rule.reserved_ids,
        split=split.description(config),
        columns=None if columns.is_criteo else columns.to_json(),
        record_format=config.record_format,
        block_rows=BLOCK_ROWS,
        shards=tuple(_write_shards(buckets, columns, place, config)),
    )
    return Prepared(schema, positives, spill.skipped, spill.checksums)


def _labelled_file(path: Path, columns: Columns, config: PrepareConfig) -> LogSource:
    if not columns.is_criteo:
        return open_log(path, columns, config.on_bad_row)
    file = RawFile(path, config.on_bad_row)
    if not file.labelled:
        raise InputError(
            f"{path} has 39 columns, expected 40: its rows have no label, so they can "
            "be scored with `python -m tfdlrm.predict` but not prepared for training"
        )
    return file


def _split(
    spill: Spill, columns: Columns, place: Building, config: PrepareConfig
) -> tuple[Spill, Split]:
    """The rows in the order of their splits, and where these are."""
    if columns.days_by is None:
        return spill, split_rows(spill.rows_per_file, config)
    if config.days is not None:
        raise InputError(
            f"days is {config.days}, but {config.columns} says that "
            f"{columns.days_by.name} tells the day of a row: drop one of the two"
        )
    return split_by_time(
        spill, columns.days_by, lambda rows: split_rows(rows, config), place.journal
    )


def _make_vocabularies(
    spill: Spill,
    split: Split,
    columns: Columns,
    place: Building,
    rule: Dialect,
    budget: int,
) -> list[CountedFeature]:
    names = columns.categorical_features
    counted = [CountedFeature(**each) for each in place.journal.entries("vocabulary")]
    rows = rule.counted_rows(split)
    with stage("count values", len(names)) as advance:
        for done, name in enumerate(names[len(counted) :], start=len(counted) + 1):
            values = _column(spill, name, len(rows))
            vocabulary = rule.vocabulary(values, budget // 2, place.work)
            if vocabulary is not None:
                write_vocabulary(vocabulary.values, place.directory, name)
            counted.append(rule.describe(name, vocabulary))
            place.journal.add("vocabulary", asdict(counted[-1]))
            advance(done, len(rows) * done // len(names))
    return counted


def _column(spill: Spill, name: str, num_rows: int) -> Iterator[pl.Series]:
    """The first `num_rows` values of a column, piece by piece."""
    starts = accumulate(spill.rows_per_piece, initial=0)
    for piece, start in zip(spill.pieces, starts, strict=False):
        if start < num_rows:
            values = pl.read_ipc(piece, columns=[name])[name].head(num_rows - start)
            is_bag = isinstance(values.dtype, pl.List)
            yield values.explode().drop_nulls() if is_bag else values


def _buckets(
    split: Split, columns: Columns, place: Building, config: PrepareConfig
) -> list[Buckets]:
    seeds = {"train": config.seed}
    kind = row_type(len(columns.dense_features), len(columns.single_hot))
    num_bags = len(columns.multi_hot)
    return [
        Buckets(place.work, name, len(rows), kind, num_bags, seeds.get(name))
        for name, rows in split.ranges().items()
    ]


def _write_shards(
    buckets: Sequence[Buckets],
    columns: Columns,
    place: Building,
    config: PrepareConfig,
) -> Iterator[Shard]:
    """The shards, in order; a bucket is removed when its shard is whole."""
    whole = {each["path"]: Shard(**each) for each in place.journal.entries("shard")}
    todo = [
        (bucket, index, shard_path(bucket.split, index, bucket.num_buckets))
        for bucket in buckets
        for index in range(bucket.num_buckets)
    ]

    def write(job: tuple[Buckets, int, str]) -> Shard:
        bucket, index, path = job
        if path in whole:
            return whole[path]
        return write_shard(
            bucket.take(index),
            *(place.directory, path, BLOCK_ROWS, config.record_format, columns),
        )

    done = 0
    budget = parse_byte_size(config.memory_budget, "memory_budget")
    with stage("write shards", sum(bucket.num_rows for bucket in buckets)) as advance:
        shards = map_in_order(write, todo, _num_writers(buckets, budget))
        for (bucket, index, path), shard in zip(todo, shards, strict=True):
            if path not in whole:
                place.journal.add("shard", asdict(shard))
            bucket.remove(index)
            done += shard.rows
            advance(done, done)
            yield shard


def _num_writers(buckets: Sequence[Buckets], budget: int) -> int:
    """Threads that may hold a bucket, its permutation and its shard at once."""
    shard_bytes = 3 * max(bucket.largest_bytes for bucket in buckets)
    return max(1, min(num_cores(), budget // 2 // max(1, shard_bytes)))
