"""The last stage on Spark: shuffle encoded rows and write the shards.

Spark does not move single rows between machines, but all rows of a piece that belong to
one bucket, as they are in memory. The choice of the bucket and the order within it are
those of `engines/local.py`, so the shards are the same to the byte.
"""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.engines.spark_encoding import Encoding
from pipelines.engines.spark_session import Cluster
from pipelines.ids.coverage import Coverage
from pipelines.ids.encoded_rows import EncodedRows, concatenate
from pipelines.shards.tfrecord import ShardFormat, shard_path, write_shard
from pipelines.stages.buckets import Buckets
from pipelines.stages.prepared import remove_other_shards
from tfdlrm.base.kept_files import DamagedFileError, KeptFile, read_note, write_note
from tfdlrm.base.progress import stage
from tfdlrm.data.shards import Shard

_BATCH_RECORDS = 16
"""A record may hold a whole piece."""

_STATISTICS = -1
"""The bucket number of records that hold what was counted."""


@dataclass(frozen=True)
class _Shards:
    """The shards that buckets become.

    Args:
        buckets: The buckets of each split.
        directory: The data set directory.
        work: Directory for the notes of finished shards.
        shard_format: Format of the shards.
    """

    buckets: tuple[Buckets, ...]
    directory: Path
    work: Path
    shard_format: ShardFormat

    @property
    def bucket_numbers(self) -> list[tuple[Buckets, int]]:
        """Split and number of each bucket."""
        return [
            (bucket, index)
            for bucket in self.buckets
            for index in range(bucket.num_buckets)
        ]

    def path(self, number: int) -> str:
        """Return the path of a shard, relative to the data set."""
        bucket, index = self.bucket_numbers[number]
        record_format = self.shard_format.record_format
        return shard_path(bucket.split, index, bucket.num_buckets, record_format)

    def note_path(self, number: int) -> Path:
        """Return the path of the note that a shard is finished."""
        return self.work / f"shard-{number:06d}.json"

    def write(self, number: int, parts: Sequence[EncodedRows]) -> None:
        """Write the shard of a bucket from its rows in the order of the split."""
        bucket, index = self.bucket_numbers[number]
        rows = bucket.in_final_order(concatenate(parts), index)
        shard = write_shard(rows, self.directory, self.path(number), self.shard_format)
        write_note(self.note_path(number), asdict(shard))

    def find_finished(self, number: int) -> tuple[Shard | None, str | None]:
        """Return the shard that an earlier run has finished, if it is undamaged.

        Returns:
            The shard or `None`, and what is wrong with its files, in words.
        """
        note = self.note_path(number)
        if not note.exists():
            return None, None
        values = read_note(note)
        if values is None:
            return None, f"{note} is damaged"
        shard = Shard(**values)
        assert shard.crc32c is not None  # `write` knows it
        path = self.directory / shard.path
        problem = KeptFile(path, shard.bytes, shard.crc32c).problem()
        return (None, f"{path} {problem}") if problem else (shard, None)


def write_shards(
    cluster: Cluster,
    encoding: Encoding,
    work: Path,
    shard_format: ShardFormat,
) -> tuple[list[Shard], dict[str, int], Coverage]:
    """Encode and shuffle all rows, and write the shards.

    Args:
        cluster: The cluster that works.
        encoding: Encodes a piece.
        work: Directory for notes of finished shards, which are not written again.
        shard_format: Format of the shards.

    Returns:
        The shards, the number of rows with label 1 of each split, and the coverage.
    """
    encoder = encoding.encoder
    directory = encoding.tables.directory
    shards = _Shards(encoder.buckets, directory, work, shard_format)
    numbers = range(len(shards.bucket_numbers))
    remove_other_shards(directory, [shards.path(number) for number in numbers])
    unfinished = _find_unfinished(cluster, shards)
    num_rows = encoding.spill.starts[-1]
    cluster.limit_records(_BATCH_RECORDS)
    with stage("encode and write", num_rows) as advance:
        statistics_rows = cluster.collect(
            cluster.numbers(len(encoding.spill.pieces))
            .mapInArrow(
                partial(_scatter, encoding, unfinished),
                "bucket int, piece long, rows binary",
            )
            .repartition(len(numbers) + 1, "bucket")
            .sortWithinPartitions("bucket", "piece")
            .mapInArrow(partial(_write, shards), "statistics binary")
        )
        advance(num_rows, num_rows)
    positives = dict.fromkeys((bucket.split for bucket in encoder.buckets), 0)
    coverage = encoder.coverage.empty()
    for row in statistics_rows:
        for bucket, (count, counts) in zip(
            encoder.buckets, pickle.loads(row[0]), strict=True
        ):
            positives[bucket.split] += count
            coverage.add(bucket.split, counts)
    return [_read_shard(shards, number) for number in numbers], positives, coverage


def _find_unfinished(cluster: Cluster, shards: _Shards) -> frozenset[int]:
    """Return the numbers of the shards that are unfinished or damaged."""
    numbers = range(len(shards.bucket_numbers))
    if not any(shards.note_path(number).exists() for number in numbers):
        return frozenset(numbers)
    results = cluster.map(shards.find_finished, len(numbers))
    problems = [problem for _, problem in results if problem]
    if problems:
        in_all = f" ({len(problems)} shards in all)" if len(problems) > 1 else ""
        print(f"{problems[0]}{in_all}: written again")
    return frozenset(number for number in numbers if results[number][0] is None)


def _read_shard(shards: _Shards, number: int) -> Shard:
    values = read_note(shards.note_path(number))
    if values is None:
        raise DamagedFileError(f"{shards.note_path(number)} is missing or damaged")
    return Shard(**values)


def _scatter(
    encoding: Encoding, unfinished: frozenset[int], batches: Iterator[Any]
) -> Iterator[Any]:
    """Yield the rows of each piece for each bucket, and at the end the statistics."""
    encoder = encoding.encoder
    statistics = [_empty_statistics(encoder.coverage) for _ in encoder.buckets]
    number = -1
    for batch in batches:
        for number in batch.column(0).to_pylist():
            frame = encoding.frame(number)
            ids: dict[str, np.ndarray] = {}
            for group in range(len(encoding.groups) - 1):
                ids |= encoding.read_ids(number, group)
            ids |= encoding.ids(len(encoding.groups) - 1, frame)
            piece = encoder.encode(frame, ids, encoding.spill.starts[number])
            for split, statistics_of_piece in enumerate(
                zip(piece.positives, piece.counts, strict=True)
            ):
                statistics[split] = _add(statistics[split], statistics_of_piece)
            parts = [part for split in piece.parts for part in split]
            for bucket, part in enumerate(parts):
                if len(part) and bucket in unfinished:
                    yield _record(bucket, number, part.to_bytes())
    yield _record(_STATISTICS, number, pickle.dumps(statistics))


def _empty_statistics(coverage: Coverage) -> tuple[int, np.ndarray]:
    return 0, coverage.no_counts()


def _add(
    first_part: tuple[int, np.ndarray], second_part: tuple[int, np.ndarray]
) -> tuple[int, np.ndarray]:
    return first_part[0] + second_part[0], first_part[1] + second_part[1]


def _record(bucket: int, piece: int, rows: bytes) -> Any:
    import pyarrow as pa

    return pa.RecordBatch.from_pydict(
        {
            "bucket": pa.array([bucket], pa.int32()),
            "piece": pa.array([piece], pa.int64()),
            "rows": pa.array([rows], pa.binary()),
        }
    )


def _write(shards: _Shards, batches: Iterator[Any]) -> Iterator[Any]:
    """Write the shards of a partition, and yield the sum of its statistics."""
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
                statistics = pickle.loads(pickled)
                total = (
                    statistics
                    if total is None
                    else [_add(*pair) for pair in zip(total, statistics, strict=True)]
                )
            yield pa.RecordBatch.from_pydict(
                {"statistics": pa.array([pickle.dumps(total)], pa.binary())}
            )
        else:
            parse = shards.buckets[0].parse
            shards.write(bucket, [parse(rows) for _, rows in group])
