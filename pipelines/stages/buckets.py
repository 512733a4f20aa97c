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
"""Several, so that readers in parallel have a file each."""

_BUFFER_BYTES = 2**17


class Buckets:
    """The rows of one split, distributed over the files that become its shards.

    A shuffled split sends each row to a random bucket and then permutes each bucket,
    which is a uniformly random order that never holds more than a bucket in memory
    (Rao 1961; Sanders 1998, "Random permutations on distributed, external and
    hierarchical memory"). Otherwise rows fill one bucket after the other. Either way
    the order depends on nothing but the seed, the rows and the pieces they come in.

    Args:
        directory: Where the files go.
        split: Name of the split.
        num_rows: Number of rows it will get.
        row_type: What the columns of a row are that have a fixed width.
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
        self._files = [self._nothing(bucket) for bucket in range(self.num_buckets)]
        self._row_type, self._num_bags = row_type, num_bags
        self._seed, self._shard_rows = seed, MAX_SHARD_ROWS
        self._waiting: list[list[EncodedRows]] = [[] for _ in range(self.num_buckets)]
        self.waiting_bytes = 0

    @property
    def largest_bytes(self) -> int:
        """Size of the largest file."""
        return max((file.num_bytes for file in self._files), default=0)

    def scatter(self, rows: EncodedRows, start: int) -> list[EncodedRows]:
        """The part of consecutive rows that goes to each bucket.

        Any thread may do this for any rows.

        Args:
            rows: Rows of the split.
            start: Number of the first of them in the split.
        """
        if not len(rows):
            return [rows] * self.num_buckets
        if self._seed is None:
            cuts = np.arange(1, self.num_buckets) * self._shard_rows - start
            return rows.split(np.clip(cuts, 0, len(rows)))
        random = np.random.default_rng([self._seed, start])
        # Numbers of 16 bits are sorted by counting, which takes the same time a row.
        kind = np.uint16 if self.num_buckets <= 2**16 else np.uint32
        buckets = random.integers(self.num_buckets, size=len(rows), dtype=kind)
        rows = rows.take(np.argsort(buckets, kind="stable"))
        ends = np.cumsum(np.bincount(buckets, minlength=self.num_buckets))
        return rows.split(ends[:-1])

    def append(self, parts: Sequence[EncodedRows]) -> None:
        """Take the next rows of the split, as `scatter` made them; kept in memory."""
        for waiting, part in zip(self._waiting, parts, strict=True):
            if len(part):
                waiting.append(part)
                self.waiting_bytes += part.nbytes

    def flush(self) -> list[KeptFile]:
        """Write what waits to disk; returns the files as they then are."""
        written = [bucket for bucket, parts in enumerate(self._waiting) if parts]
        for bucket in written:
            self._write(bucket, self._waiting[bucket])
        for bucket in written:  # the disk has begun with the first ones meanwhile
            sync(self.path(bucket))
        self._waiting = [[] for _ in range(self.num_buckets)]
        self.waiting_bytes = 0
        return [file for file in self._files if file.num_bytes]

    def _write(self, bucket: int, parts: list[EncodedRows]) -> None:
        before = self._files[bucket]
        num_bytes, crc32c = before.num_bytes, before.crc32c
        # Opened each time, since there may be more than may stay open.
        with before.path.open("ab", buffering=_BUFFER_BYTES) as file:
            for part in parts:
                contents = part.to_bytes()
                num_bytes += file.write(contents)
                crc32c = google_crc32c.extend(crc32c, contents)
        self._files[bucket] = KeptFile(before.path, num_bytes, crc32c)

    def restore(self, files: Mapping[Path, KeptFile]) -> None:
        """Go back to what `flush` of an earlier run returned; other files are empty."""
        for bucket in range(self.num_buckets):
            nothing = self._nothing(bucket)
            self._files[bucket] = files.get(nothing.path, nothing)
            if nothing.path.exists():
                os.truncate(nothing.path, self._files[bucket].num_bytes)

    def take(self, bucket: int) -> EncodedRows:
        """The rows of a bucket in their final order.

        Raises:
            DamagedFileError: If its file is not what was written.
        """
        return self.in_final_order(self.parse(self._files[bucket].read()), bucket)

    def parse(self, written: bytes) -> EncodedRows:
        """Rows from what their `write` wrote."""
        return EncodedRows.parse(written, self._row_type, self._num_bags)

    def in_final_order(self, rows: EncodedRows, bucket: int) -> EncodedRows:
        """All rows of a bucket, put from the order of the split into their last one."""
        if self._seed is None:
            return rows
        order = np.random.default_rng([self._seed, bucket]).permutation(len(rows))
        return rows.take(order)

    def remove(self, bucket: int) -> None:
        """Forget the rows of a bucket."""
        self.path(bucket).unlink(missing_ok=True)

    def path(self, bucket: int) -> Path:
        """Where the rows of a bucket are until they become a shard."""
        return self._directory / f"{self.split}-{bucket:05d}{GROWING_SUFFIX}"

    def _nothing(self, bucket: int) -> KeptFile:
        return KeptFile(self.path(bucket), 0, 0)
