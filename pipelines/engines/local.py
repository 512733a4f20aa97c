"""The default engine: one machine, Polars and NumPy, bounded memory.

The raw text is parsed once and spilled as typed columns; the training part of each
spilled column gives its vocabulary; every row is encoded and goes to the bucket that
becomes its shard; then the shards are written. Each finished piece of work is in the
journal, so that a run that was stopped goes on from there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import polars as pl

from pipelines.ids.coverage import CountedFeature, Coverage
from pipelines.ids.coverage_report import write_coverage
from pipelines.ids.dialects import Dialect, dialect_of
from pipelines.logs.columns import Columns
from pipelines.logs.inputs import Inputs
from pipelines.logs.opening import open_all
from pipelines.shards.tfrecord import shard_path, write_shard
from pipelines.stages.buckets import Buckets
from pipelines.stages.building import Building
from pipelines.stages.encoding import Encoder
from pipelines.stages.prepared import (
    BLOCK_ROWS,
    Prepared,
    categorical_features,
    make_buckets,
    make_schema,
    read_columns,
    remove_other_shards,
    schema_without_shards,
    with_labels,
)
from pipelines.stages.spill import Spill, spill_columns
from pipelines.stages.split import Split, split_rows
from pipelines.stages.time_split import split_by_time
from tfdlrm.base.byte_size import parse_byte_size
from tfdlrm.base.kept_files import KeptFile, keep
from tfdlrm.base.parallel import map_in_order, num_cores
from tfdlrm.base.progress import stage
from tfdlrm.config import PrepareConfig
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.schema import Shard
from tfdlrm.data.vocabulary_files import write_vocabulary


def run(raw: Sequence[Path], place: Building, config: PrepareConfig) -> Prepared:
    """Turn raw files into the shards and vocabularies of a data set.

    Args:
        raw: Raw files with labels, or folders of them, in order of time.
        place: Where to write; `schema.json` is left to the caller.
        config: How rows are split, counted and shuffled.

    Returns:
        The schema of the data set and what is worth telling about it.

    Raises:
        InputError: If a file or the split cannot be used.
        InputChangedError: If what an earlier run has read is not there now.
    """
    raw = Inputs.of(raw)
    columns = read_columns(len(raw.lengths), config)
    budget = parse_byte_size(config.memory_budget, "memory_budget")
    files = open_all(raw, columns, config.on_bad_row)
    spill = spill_columns(files, place.work, place.journal, columns.transformed)
    columns = with_labels(columns, spill)
    spill, split = _split(raw, spill, columns, place, config)
    rule = dialect_of(config)
    counted = _make_vocabularies(spill, split, columns, place, rule, budget)
    features = categorical_features(counted, columns)
    coverage = Coverage(counted)
    buckets = make_buckets(split, columns, place.work, config)
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
    schema = schema_without_shards(columns, features, split, place.directory, config)
    mark = Meaning.of(schema).fingerprint
    shards = list(_write_shards(buckets, columns, place, config, mark))
    return Prepared(
        make_schema(schema, shards), positives, spill.skipped, spill.checksums
    )


def _split(
    raw: Inputs, spill: Spill, columns: Columns, place: Building, config: PrepareConfig
) -> tuple[Spill, Split]:
    """The rows in the order of their splits, and where these are."""
    if columns.days_by is None:
        rows = raw.rows_per_input(spill.rows_per_file)
        return spill, split_rows(rows, config)
    return split_by_time(
        spill,
        columns.days_by,
        lambda rows: split_rows(rows, config, are_days=True),
        place.journal,
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
    noted = place.journal.entries("vocabulary")
    counted = [CountedFeature(**each["feature"]) for each in noted]
    rows = rule.counted_rows(split.ranges())
    with stage("count values", len(names)) as advance:
        for done, name in enumerate(names[len(counted) :], start=len(counted) + 1):
            values = _column(spill, name, len(rows))
            vocabulary = rule.vocabulary(values, budget // 2, place.work)
            files = []
            if vocabulary is not None:
                write_vocabulary(vocabulary.values, place.directory, name)
                files = [keep(vocabulary_path(place.directory, name))]
            counted.append(rule.describe(name, vocabulary))
            entry = {"feature": asdict(counted[-1]), "files": place.journal.note(files)}
            place.journal.add("vocabulary", entry)
            advance(done, len(rows) * done // len(names))
    return counted


def _column(spill: Spill, name: str, num_rows: int) -> Iterator[pl.Series]:
    """The first `num_rows` values of a column, piece by piece."""
    for number, start in enumerate(spill.starts[:-1]):
        if start < num_rows:
            values = spill.read(number, [name])[name].alias("value")
            values = values.head(num_rows - start)
            is_bag = isinstance(values.dtype, pl.List)
            yield values.explode().drop_nulls() if is_bag else values


def _write_shards(
    buckets: Sequence[Buckets],
    columns: Columns,
    place: Building,
    config: PrepareConfig,
    mark: str,
) -> Iterator[Shard]:
    """The shards, in order; a bucket is removed when its shard is whole."""
    noted = place.journal.entries("shard")
    whole = {each["shard"]["path"]: Shard(**each["shard"]) for each in noted}
    form = config.record_format
    todo = [
        (bucket, index, shard_path(bucket.split, index, bucket.num_buckets, form))
        for bucket in buckets
        for index in range(bucket.num_buckets)
    ]

    remove_other_shards(place.directory, [path for _, _, path in todo])

    def write(job: tuple[Buckets, int, str]) -> Shard:
        bucket, index, path = job
        if path in whole:
            return whole[path]
        return write_shard(
            bucket.take(index),
            *(place.directory, path, BLOCK_ROWS, form, columns, mark),
        )

    done = 0
    budget = parse_byte_size(config.memory_budget, "memory_budget")
    with stage("write shards", sum(bucket.num_rows for bucket in buckets)) as advance:
        shards = map_in_order(write, todo, _num_writers(buckets, budget))
        for (bucket, index, path), shard in zip(todo, shards, strict=True):
            if path not in whole:
                assert shard.crc32c is not None  # it was just written
                file = KeptFile(place.directory / path, shard.bytes, shard.crc32c)
                entry = {
                    "shard": asdict(shard),
                    "files": place.journal.note([file]),
                    "released": [place.journal.name(bucket.path(index))],
                }
                place.journal.add("shard", entry)
            bucket.remove(index)
            done += shard.rows
            advance(done, done)
            yield shard


def _num_writers(buckets: Sequence[Buckets], budget: int) -> int:
    """Threads that may hold a bucket, its permutation and its shard at once."""
    shard_bytes = 3 * max(bucket.largest_bytes for bucket in buckets)
    return max(1, min(num_cores(), budget // 2 // max(1, shard_bytes)))
