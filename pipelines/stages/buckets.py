"""Rows on disk in buckets of a size that fits in memory, one for each shard."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import google_crc32c
import numpy as np

from pipelines.ids.encoded_rows import EncodedRows
from tfdlrm.base.kept_files import GROWING_SUFFIX, KeptFile
from tfdlrm.base.storage import sync

MAX_SHARD_ROWS = 2**20
MIN_SHARD_ROWS = 2**11
MIN_SHUFFLED_SHARDS = 4
"""More than one, so that parallel readers have a file each."""

_BUFFER_BYTES = 2**17


class Buckets:
    """The rows of one split, scattered over the files that become its shards.

    A shuffled split sends each row to a random bucket and then permutes each bucket.
    That is a uniformly random order, for which memory holds one bucket at a time
    (Rao 1961; Sanders 1998, "Random permutations on distributed, external and
    hierarchical memory"). Otherwise rows fill one bucket after the other. Either way
    the order depends only on the seed, the rows and the pieces that they come in.

    Args:
        directory: Directory for the files.
        split: Name of the split.
        num_rows: Number of rows that the split will have.
        row_type: Type of the columns of a fixed width.
        num_bags: Number of multi-hot columns.
        seed: Seed of the shuffle; `None` keeps the order.
    """

    def __init__(
        self,
        directory: Path,
        split: str,
        num_rows: int,
        row_type: np.dtype,
        num_bags: int,
        seed: int | None,
    ) -> None:
        self.split = split
        self.num_rows = num_rows
        self.num_buckets = -(-num_rows // MAX_SHARD_ROWS)
        if seed is not None and num_rows >= MIN_SHUFFLED_SHARDS * MIN_SHARD_ROWS:
            self.num_buckets = max(self.num_buckets, MIN_SHUFFLED_SHARDS)
        self._directory = directory
        self._files = [self._empty_file(bucket) for bucket in range(self.num_buckets)]
        self._row_type, self._num_bags = row_type, num_bags
        self._seed, self._shard_rows = seed, MAX_SHARD_ROWS
        self._waiting: list[list[EncodedRows]] = [[] for _ in range(self.num_buckets)]
        self.waiting_bytes = 0

    @property
    def largest_bytes(self) -> int:
        """Size of the largest file, in bytes."""
        return max((file.num_bytes for file in self._files), default=0)

    def scatter(self, rows: EncodedRows, start: int) -> list[EncodedRows]:
        """Return the part of consecutive rows that goes to each bucket.

        It changes nothing, so that any thread may call it.

        Args:
            rows: Rows of the split.
            start: Number of the first row in the split.
        """
        if not len(rows):
            return [rows] * self.num_buckets
        if self._seed is None:
            cuts = np.arange(1, self.num_buckets) * self._shard_rows - start
            return rows.split(np.clip(cuts, 0, len(rows)))
        random = np.random.default_rng([self._seed, start])
        # NumPy sorts 16-bit numbers by counting, in a constant time a row.
        number_type = np.uint16 if self.num_buckets <= 2**16 else np.uint32
        buckets = random.integers(self.num_buckets, size=len(rows), dtype=number_type)
        rows = rows.take(np.argsort(buckets, kind="stable"))
        ends = np.cumsum(np.bincount(buckets, minlength=self.num_buckets))
        return rows.split(ends[:-1])

    def append(self, parts: Sequence[EncodedRows]) -> None:
        """Keep the next rows of the split in memory, as `scatter` returned them."""
        for waiting, part in zip(self._waiting, parts, strict=True):
            if len(part):
                waiting.append(part)
                self.waiting_bytes += part.nbytes

    def flush(self) -> list[KeptFile]:
        """Write the waiting rows to disk and return the files as they are then."""
        filled = [bucket for bucket, parts in enumerate(self._waiting) if parts]
        for bucket in filled:
            self._write(bucket, self._waiting[bucket])
        for bucket in filled:  # afterwards, since the disk is writing already
            sync(self.path(bucket))
        self._waiting = [[] for _ in range(self.num_buckets)]
        self.waiting_bytes = 0
        return [file for file in self._files if file.num_bytes]

    def _write(self, bucket: int, parts: list[EncodedRows]) -> None:
        old_file = self._files[bucket]
        num_bytes, crc32c = old_file.num_bytes, old_file.crc32c
        # Opened each time, since there may be more files than may stay open.
        with old_file.path.open("ab", buffering=_BUFFER_BYTES) as file:
            for part in parts:
                contents = part.to_bytes()
                num_bytes += file.write(contents)
                crc32c = google_crc32c.extend(crc32c, contents)
        self._files[bucket] = KeptFile(old_file.path, num_bytes, crc32c)

    def restore(self, files: Mapping[Path, KeptFile]) -> None:
        """Return to the files that an earlier run's `flush` returned; empty others."""
        for bucket in range(self.num_buckets):
            empty_file = self._empty_file(bucket)
            self._files[bucket] = files.get(empty_file.path, empty_file)
            if empty_file.path.exists():
                os.truncate(empty_file.path, self._files[bucket].num_bytes)

    def take(self, bucket: int) -> EncodedRows:
        """Read the rows of a bucket in their final order.

        Raises:
            DamagedFileError: If its file is not what was written.
        """
        return self.in_final_order(self.parse(self._files[bucket].read()), bucket)

    def parse(self, contents: bytes) -> EncodedRows:
        """Return rows from the bytes that `EncodedRows.write` wrote."""
        return EncodedRows.parse(contents, self._row_type, self._num_bags)

    def in_final_order(self, rows: EncodedRows, bucket: int) -> EncodedRows:
        """Return all rows of a bucket in their final order.

        Args:
            rows: All rows of the bucket, in the order of the split.
            bucket: Number of the bucket.
        """
        if self._seed is None:
            return rows
        order = np.random.default_rng([self._seed, bucket]).permutation(len(rows))
        return rows.take(order)

    def remove(self, bucket: int) -> None:
        """Remove the file of a bucket."""
        self.path(bucket).unlink(missing_ok=True)

    def path(self, bucket: int) -> Path:
        """Return the path of the rows of a bucket until they become a shard."""
        return self._directory / f"{self.split}-{bucket:05d}{GROWING_SUFFIX}"

    def _empty_file(self, bucket: int) -> KeptFile:
        return KeptFile(self.path(bucket), 0, 0)
