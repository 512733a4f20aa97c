"""The Spark engine: the steps of the local one, spread over a cluster's machines.

Every machine sees the raw files and the data set under the same paths. The functions
are those of `engines/local.py`: a piece of typed rows is parsed, counted and encoded by
the same Polars and NumPy code, whoever does it. Spark hands out the pieces
(`mapInArrow` over their numbers), adds up the counts of values, and brings the rows of
each bucket together. The driver holds a few numbers for each piece, nothing for a row.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.engines.spark_counting import make_vocabularies
from pipelines.engines.spark_encoding import Encoding, keep_ids
from pipelines.engines.spark_reading import read_rows
from pipelines.engines.spark_session import Cluster, cluster
from pipelines.engines.spark_shuffle import write_shards
from pipelines.ids.coverage import Coverage
from pipelines.ids.coverage_report import write_coverage
from pipelines.ids.dialects import dialect_of
from pipelines.logs.checksums import InputChangedError
from pipelines.logs.columns import Columns
from pipelines.logs.inputs import Inputs
from pipelines.logs.values import KEYS_PER_DAY
from pipelines.stages.building import Building
from pipelines.stages.journal import Journal
from pipelines.stages.piece_encoding import PieceEncoder, table_groups
from pipelines.stages.prepared import (
    Prepared,
    categorical_features,
    make_buckets,
    make_schema,
    read_columns,
    schema_without_shards,
    with_labels,
)
from pipelines.stages.spill import Spill
from pipelines.stages.split import Split, split_rows
from pipelines.stages.time_split import (
    PieceKeys,
    distribute,
    find_cuts,
    in_split_order,
    piece_keys,
)
from tfdlrm.base.byte_size import parse_byte_size
from tfdlrm.base.progress import stage
from tfdlrm.config import PrepareConfig
from tfdlrm.data.meaning import Meaning


def run(raw: Sequence[Path], place: Building, config: PrepareConfig) -> Prepared:
    """Turn raw files into the shards and vocabularies of a data set.

    The data set is the one that the local engine makes, byte for byte.

    Args:
        raw: Raw files with labels, in order of time.
        place: Where to write; `schema.json` is left to the caller.
        config: How rows are split, counted and shuffled, and by which cluster.

    Returns:
        The schema of the data set and what is worth telling about it.

    Raises:
        InputError: If a file, the split or the cluster cannot be used.
        InputChangedError: If what an earlier run has read is not there now.
    """
    raw = Inputs.of(raw)
    columns = read_columns(len(raw.lengths), config)
    with cluster(config) as workers:
        return _run(workers, raw, columns, place, config)


def _run(
    workers: Cluster,
    raw: Inputs,
    columns: Columns,
    place: Building,
    config: PrepareConfig,
) -> Prepared:
    spill = read_rows(workers, raw, columns, place.work, config)
    _require_same(raw, spill.checksums, place.journal)
    columns = with_labels(columns, spill)
    spill, split = _split(workers, raw, spill, columns, place, config)
    rule = dialect_of(config)
    counted = make_vocabularies(
        workers,
        spill,
        columns,
        rule,
        len(rule.counted_rows(split.ranges())),
        place.directory,
        place.journal,
    )
    features = categorical_features(counted, columns)
    buckets = make_buckets(split, columns, place.work, config)
    budget = parse_byte_size(config.memory_budget, "memory_budget")
    names = columns.categorical_features
    sizes = {name: rule.table_bytes(place.directory, name) for name in names}
    encoding = Encoding(
        spill,
        PieceEncoder(columns, split, buckets, Coverage(counted)),
        features,
        rule,
        place.directory,
        table_groups(sizes, budget // 2 // workers.workers_here),
        place.journal.kept(),
        run=uuid.uuid4().hex,
    )
    keep_ids(workers, encoding)
    schema = schema_without_shards(columns, features, split, place.directory, config)
    mark = Meaning.of(schema).fingerprint
    shards, positives, coverage = write_shards(
        workers, encoding, place.work, config.record_format, mark
    )
    write_coverage(coverage, config.dialect, place.directory)
    return Prepared(
        make_schema(schema, shards), positives, spill.skipped, spill.checksums
    )


def _require_same(
    raw: Sequence[Path], checksums: Sequence[str], journal: Journal
) -> None:
    """Refuse to go on with what was made from other files.

    A part whose own checksum is lost is read again, and may be another one.
    """
    noted = journal.last("raw")
    if noted is None:
        journal.add("raw", {"sha256": [*checksums]})
        return
    for path, before, now in zip(raw, noted["sha256"], checksums, strict=True):
        if before != now:
            raise InputChangedError(path)


def _split(
    workers: Cluster,
    raw: Inputs,
    spill: Spill,
    columns: Columns,
    place: Building,
    config: PrepareConfig,
) -> tuple[Spill, Split]:
    """The rows in the order of their splits, and where these are."""
    if columns.days_by is None:
        counts = raw.rows_per_input(spill.rows_per_file)
        return spill, split_rows(counts, config)

    def map_keys(function: Callable[[PieceKeys], Any]) -> Iterable[Any]:
        return workers.map(partial(_of_keys, spill, function), len(spill.pieces))

    split_days = partial(split_rows, config=config, are_days=True)
    noted = place.journal.last("time cuts")
    if noted is None:
        keys_per_day = KEYS_PER_DAY[columns.days_by.kind]
        noted = find_cuts(map_keys, keys_per_day, split_days)
        place.journal.add("time cuts", noted)
    with stage("split by time", spill.starts[-1]) as advance:
        parts = workers.map(partial(distribute, spill, noted=noted), len(spill.pieces))
        advance(spill.starts[-1], spill.starts[-1])
    split = split_days(noted["rows_per_day"])
    return in_split_order(spill, parts), split


def _of_keys(spill: Spill, function: Callable[[PieceKeys], Any], number: int) -> Any:
    return function(piece_keys(spill, number))
