"""The last stage on Spark: encoded rows are shuffled and become shards.

What Spark moves between machines are not rows but all rows of a piece that belong to
one bucket, as they lie in memory. Which these are, and their order within the bucket,
is decided as `engines/local.py` decides it, so the shards are the same to the byte.
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
from pipelines.shards.tfrecord import shard_path, write_shard
from pipelines.stages.buckets import Buckets
from pipelines.stages.piece_encoding import PieceEncoder
from pipelines.stages.prepared import BLOCK_ROWS, remove_other_shards
from tfdlrm.base.kept_files import DamagedFileError, KeptFile, read_note, write_note
from tfdlrm.base.progress import stage
from tfdlrm.data.schema import RecordFormat, Shard

_BATCH_RECORDS = 16
"""Each may hold a whole piece."""

_STATISTICS = -1
"""In the place of a bucket's number: what was counted along the way."""


@dataclass(frozen=True)
class _Shards:
    """How buckets become shards.

    Args:
        buckets: The buckets of each split.
        encoder: Has the columns.
        directory: The data set directory.
        work: Where finished shards are noted.
        record_format: Of the records.
        mark: The fingerprint that they bear.
    """

    buckets: tuple[Buckets, ...]
    encoder: PieceEncoder
    directory: Path
    work: Path
    record_format: RecordFormat
    mark: str

    @property
    def places(self) -> list[tuple[Buckets, int]]:
        """Split and number of each bucket."""
        return [
            (bucket, index)
            for bucket in self.buckets
            for index in range(bucket.num_buckets)
        ]

    def path(self, number: int) -> str:
        """Path of a shard, relative to the data set."""
        bucket, index = self.places[number]
        return shard_path(bucket.split, index, bucket.num_buckets, self.record_format)

    def noted(self, number: int) -> Path:
        """Where it is noted that a shard is finished."""
        return self.work / f"shard-{number:06d}.json"

    def write(self, number: int, parts: Sequence[EncodedRows]) -> None:
        """Write the shard of a bucket from its rows in the order of the split."""
        bucket, index = self.places[number]
        form = self.record_format
        shard = write_shard(
            bucket.in_final_order(concatenate(parts), index),
            self.directory,
            self.path(number),
            BLOCK_ROWS,
            form,
            self.encoder.columns,
            self.mark,
        )
        write_note(self.noted(number), asdict(shard))

    def finished(self, number: int) -> tuple[Shard | None, str | None]:
        """The shard that an earlier run has finished, if it is whole.

        Returns:
            The shard, or else what is wrong with what there is, in words.
        """
        noted = self.noted(number)
        if not noted.exists():
            return None, None
        described = read_note(noted)
        if described is None:
            return None, f"{noted} is damaged"
        shard = Shard(**described)
        assert shard.crc32c is not None  # `write` knows it
        path = self.directory / shard.path
        problem = KeptFile(path, shard.bytes, shard.crc32c).problem()
        return (None, f"{path} {problem}") if problem else (shard, None)


def write_shards(
    cluster: Cluster,
    encoding: Encoding,
    work: Path,
    record_format: RecordFormat,
    mark: str,
) -> tuple[list[Shard], dict[str, int], Coverage]:
    """Encode and shuffle all rows, and write the shards.

    Args:
        cluster: Where to do it.
        encoding: How to encode a piece.
        work: Where finished shards are noted, so that they are not written again.
        record_format: Of the records.
        mark: The fingerprint that they bear.

    Returns:
        The shards, the rows with label 1 of each split, and the coverage.
    """
    encoder = encoding.encoder
    shards = _Shards(
        encoder.buckets, encoder, encoding.directory, work, record_format, mark
    )
    numbers = range(len(shards.places))
    remove_other_shards(encoding.directory, [shards.path(number) for number in numbers])
    todo = _to_do(cluster, shards)
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
    return [_noted_shard(shards, each) for each in numbers], positives, coverage


def _to_do(cluster: Cluster, shards: _Shards) -> frozenset[int]:
    """Numbers of the shards that are not finished, or not whole any more."""
    numbers = range(len(shards.places))
    if not any(shards.noted(number).exists() for number in numbers):
        return frozenset(numbers)
    found = cluster.map(shards.finished, len(numbers))
    lost = [problem for _, problem in found if problem]
    if lost:
        in_all = f" ({len(lost)} shards in all)" if len(lost) > 1 else ""
        print(f"{lost[0]}{in_all}: written again")
    return frozenset(number for number in numbers if found[number][0] is None)


def _noted_shard(shards: _Shards, number: int) -> Shard:
    described = read_note(shards.noted(number))
    if described is None:
        raise DamagedFileError(f"{shards.noted(number)} is missing or damaged")
    return Shard(**described)


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
                ids |= encoding.read_ids(number, group)
            ids |= encoding.ids(len(encoding.groups) - 1, frame)
            piece = encoder.encode(frame, ids, encoding.spill.starts[number])
            for split, each in enumerate(
                zip(piece.positives, piece.counts, strict=True)
            ):
                statistics[split] = _added(statistics[split], each)
            parts = [part for split in piece.parts for part in split]
            for bucket, part in enumerate(parts):
                if len(part) and bucket in todo:
                    yield _record(bucket, number, part.to_bytes())
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
