"""The last stages on Spark: rows become ids, are shuffled, and become shards.

What Spark moves between machines are not rows but all rows of a piece that belong to
one bucket, as they lie in memory. Which these are, and their order within the bucket,
is decided as `engines/local.py` decides it, so the shards are the same to the byte.
"""

import io
import json
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines.aside import whole
from pipelines.buckets import Buckets
from pipelines.coverage import Coverage
from pipelines.dialects import Dialect
from pipelines.encoded_rows import EncodedRows, concatenate
from pipelines.engines.spark_session import Cluster
from pipelines.piece_encoding import PieceEncoder, table_groups
from pipelines.prepared import BLOCK_ROWS
from pipelines.progress import stage
from pipelines.spill import Spill
from pipelines.tfrecord import shard_path, write_shard
from pipelines.vocabulary import Table
from tfdlrm.schema import CategoricalFeature, RecordFormat, Shard

_BATCH_RECORDS = 16
"""Each may hold a whole piece."""

_STATISTICS = -1
"""In the place of a bucket's number: what was counted along the way."""


@dataclass(frozen=True)
class Encoding:
    """What tasks need to encode any piece.

    Args:
        spill: The typed rows.
        encoder: What encodes a piece.
        features: The categorical columns.
        rule: The dialect.
        directory: The data set directory.
        groups: The columns whose tables fit in memory together; the ids of all but the
            last group are on disk.
        run: What no other run has, since workers may live longer.
    """

    spill: Spill
    encoder: PieceEncoder
    features: tuple[CategoricalFeature, ...]
    rule: Dialect
    directory: Path
    groups: tuple[tuple[str, ...], ...]
    run: str

    def frame(self, number: int) -> pl.DataFrame:
        """The typed rows of a piece."""
        return pl.read_ipc(self.spill.pieces[number])

    def ids(self, group: int, frame: pl.DataFrame) -> dict[str, np.ndarray]:
        """The ids of a group of columns."""
        tables = _tables(self.run, self.directory, self.rule, self.group(group))
        return self.encoder.ids(frame, self.groups[group], tables)

    def group(self, number: int) -> tuple[CategoricalFeature, ...]:
        """The columns of a group."""
        by_name = {feature.name: feature for feature in self.features}
        return tuple(by_name[name] for name in self.groups[number])

    def ids_path(self, number: int, group: int) -> Path:
        """Where the ids of a group of columns of a piece are kept."""
        names = self.encoder.columns.categorical_features
        first, last = (names.index(self.groups[group][end]) for end in (0, -1))
        return self.spill.pieces[number].with_suffix(f".{first}-{last}.npz")


@lru_cache(maxsize=1)
def _tables(
    run: str, directory: Path, rule: Dialect, features: Sequence[CategoricalFeature]
) -> list[Table]:
    """Tables of ids; a worker keeps the last ones for its next task."""
    del run
    return [rule.table(directory, feature) for feature in features]


def keep_ids(cluster: Cluster, encoding: Encoding) -> None:
    """Put the ids of all but the last group of columns on disk."""
    num_rows = encoding.spill.starts[-1]
    for group, names in enumerate(encoding.groups[:-1]):
        with stage(f"ids of {names[0]} to {names[-1]}", num_rows) as advance:
            keep = partial(_keep_ids, encoding, group)
            cluster.map(keep, len(encoding.spill.pieces))
            advance(num_rows, num_rows)


def _keep_ids(encoding: Encoding, group: int, number: int) -> None:
    path = encoding.ids_path(number, group)
    if path.exists():
        return
    ids = encoding.ids(group, encoding.frame(number))
    with whole(path) as aside, aside.open("wb") as file:
        np.savez(file, **ids)


@dataclass(frozen=True)
class _Shards:
    """How buckets become shards.

    Args:
        buckets: The buckets of each split.
        encoder: Has the columns.
        directory: The data set directory.
        work: Where finished shards are noted.
        record_format: Of the records.
    """

    buckets: tuple[Buckets, ...]
    encoder: PieceEncoder
    directory: Path
    work: Path
    record_format: RecordFormat

    @property
    def places(self) -> list[tuple[Buckets, int]]:
        """Split and number of each bucket."""
        return [
            (bucket, index)
            for bucket in self.buckets
            for index in range(bucket.num_buckets)
        ]

    def noted(self, number: int) -> Path:
        """Where it is noted that a shard is finished."""
        return self.work / f"shard-{number:06d}.json"

    def write(self, number: int, parts: Sequence[EncodedRows]) -> None:
        """Write the shard of a bucket from its rows in the order of the split."""
        bucket, index = self.places[number]
        shard = write_shard(
            bucket.in_final_order(concatenate(parts), index),
            self.directory,
            shard_path(bucket.split, index, bucket.num_buckets),
            BLOCK_ROWS,
            self.record_format,
            self.encoder.columns,
        )
        with whole(self.noted(number)) as aside:
            aside.write_text(json.dumps(asdict(shard)), encoding="utf-8")


def write_shards(
    cluster: Cluster,
    encoding: Encoding,
    work: Path,
    record_format: RecordFormat,
) -> tuple[list[Shard], dict[str, int], Coverage]:
    """Encode and shuffle all rows, and write the shards.

    Args:
        cluster: Where to do it.
        encoding: How to encode a piece.
        work: Where finished shards are noted, so that they are not written again.
        record_format: Of the records.

    Returns:
        The shards, the rows with label 1 of each split, and the coverage.
    """
    encoder = encoding.encoder
    shards = _Shards(encoder.buckets, encoder, encoding.directory, work, record_format)
    numbers = range(len(shards.places))
    todo = frozenset(each for each in numbers if not shards.noted(each).exists())
    num_rows = encoding.spill.starts[-1]
    cluster.limit_records(_BATCH_RECORDS)
    with stage("encode and write", num_rows) as advance:
        found = cluster.collect(
            cluster.numbers(len(encoding.spill.pieces))
            .mapInArrow(
                partial(_scatter, encoding, todo),
                "bucket int, piece long, rows binary",
            )
            .repartition(len(numbers) + 1, "bucket")
            .sortWithinPartitions("bucket", "piece")
            .mapInArrow(partial(_write, shards), "statistics binary")
        )
        advance(num_rows, num_rows)
    positives = dict.fromkeys((bucket.split for bucket in encoder.buckets), 0)
    coverage = Coverage(encoder.coverage.features)
    for row in found:
        for bucket, (count, counts) in zip(
            encoder.buckets, pickle.loads(row[0]), strict=True
        ):
            positives[bucket.split] += count
            coverage.add(bucket.split, counts)
    written = [
        Shard(**json.loads(shards.noted(each).read_text(encoding="utf-8")))
        for each in numbers
    ]
    return written, positives, coverage


def _scatter(
    encoding: Encoding, todo: frozenset[int], batches: Iterator[Any]
) -> Iterator[Any]:
    """The rows of each piece for each bucket, and at last what was counted."""
    encoder = encoding.encoder
    statistics = [_no_statistics(encoder.coverage) for _ in encoder.buckets]
    number = -1
    for batch in batches:
        for number in batch.column(0).to_pylist():
            frame = encoding.frame(number)
            ids: dict[str, np.ndarray] = {}
            for group in range(len(encoding.groups) - 1):
                with np.load(encoding.ids_path(number, group)) as kept:
                    ids |= dict(kept.items())
            ids |= encoding.ids(len(encoding.groups) - 1, frame)
            piece = encoder.encode(frame, ids, encoding.spill.starts[number])
            for split, each in enumerate(
                zip(piece.positives, piece.counts, strict=True)
            ):
                statistics[split] = _added(statistics[split], each)
            parts = [part for split in piece.parts for part in split]
            for bucket, part in enumerate(parts):
                if len(part) and bucket in todo:
                    yield _record(bucket, number, _to_bytes(part))
    yield _record(_STATISTICS, number, pickle.dumps(statistics))


def _no_statistics(coverage: Coverage) -> tuple[int, np.ndarray]:
    return 0, np.zeros((3, len(coverage.features)), np.int64)


def _added(
    one: tuple[int, np.ndarray], other: tuple[int, np.ndarray]
) -> tuple[int, np.ndarray]:
    return one[0] + other[0], one[1] + other[1]


def _record(bucket: int, piece: int, rows: bytes) -> Any:
    import pyarrow as pa

    return pa.RecordBatch.from_pydict(
        {
            "bucket": pa.array([bucket], pa.int32()),
            "piece": pa.array([piece], pa.int64()),
            "rows": pa.array([rows], pa.binary()),
        }
    )


def _to_bytes(rows: EncodedRows) -> bytes:
    file = io.BytesIO()
    rows.write(file)
    return file.getvalue()


def _write(shards: _Shards, batches: Iterator[Any]) -> Iterator[Any]:
    """Write the shards of a partition, and hand on what was counted."""
    import pyarrow as pa

    records = (
        record
        for batch in batches
        for record in zip(
            batch.column(0).to_pylist(), batch.column(2).to_pylist(), strict=True
        )
    )
    for bucket, group in groupby(records, key=lambda record: record[0]):
        if bucket == _STATISTICS:
            total: list[tuple[int, np.ndarray]] | None = None
            for _, pickled in group:
                counted = pickle.loads(pickled)
                total = (
                    counted
                    if total is None
                    else [_added(*each) for each in zip(total, counted, strict=True)]
                )
            yield pa.RecordBatch.from_pydict(
                {"statistics": pa.array([pickle.dumps(total)], pa.binary())}
            )
        else:
            parse = shards.buckets[0].parse
            shards.write(bucket, [parse(rows) for _, rows in group])


def groups_of(
    features: Sequence[CategoricalFeature], rule: Dialect, budget: int
) -> tuple[tuple[str, ...], ...]:
    """The columns in groups whose tables a worker has memory for."""
    if not rule.counted_splits:  # hashing holds no tables
        return (tuple(feature.name for feature in features),)
    return tuple(table_groups(features, budget))
