"""Rows on disk in buckets of a size that fits in memory, one for each shard."""

from pathlib import Path

import numpy as np

MAX_SHARD_ROWS = 2**20
MIN_SHARD_ROWS = 2**11
MIN_SHUFFLED_SHARDS = 4
"""Several, so that readers in parallel have a file each."""


class Buckets:
    """The rows of one split, distributed over the files that become its shards.

    A shuffled split sends each row to a random bucket and then permutes each bucket,
    which is a uniformly random order that never holds more than a bucket in memory.
    Otherwise rows fill one bucket after the other.

    Args:
        directory: Where the files go.
        split: Name of the split.
        num_rows: Number of rows it will get.
        row_type: What a row is.
        seed: Seed of the shuffle; `None` keeps the order.
    """

    def __init__(
        self,
        directory: Path,
        split: str,
        num_rows: int,
        row_type: np.dtype,
        seed: int | None,
    ) -> None:
        self.split = split
        self.num_buckets = -(-num_rows // MAX_SHARD_ROWS)
        if seed is not None and num_rows >= MIN_SHUFFLED_SHARDS * MIN_SHARD_ROWS:
            self.num_buckets = max(self.num_buckets, MIN_SHUFFLED_SHARDS)
        self._directory = directory
        self._row_type = row_type
        self._seed = seed
        self._random = np.random.default_rng(seed)
        self._num_appended = 0

    def append(self, rows: np.ndarray) -> None:
        """Add the next rows of the split."""
        if self._seed is None:
            positions = np.arange(self._num_appended, self._num_appended + len(rows))
            buckets = positions // MAX_SHARD_ROWS
        else:
            buckets = self._random.integers(self.num_buckets, size=len(rows))
        self._num_appended += len(rows)
        rows = rows[np.argsort(buckets, kind="stable")]
        ends = np.cumsum(np.bincount(buckets, minlength=self.num_buckets))
        for bucket, part in enumerate(np.split(rows, ends[:-1])):
            if len(part):
                # Opened for each part, since there may be more than may stay open.
                with self._path(bucket).open("ab") as file:
                    part.tofile(file)

    def take(self, bucket: int) -> np.ndarray:
        """The rows of a bucket in their final order; its file is removed."""
        path = self._path(bucket)
        rows = np.fromfile(path, self._row_type)
        path.unlink()
        if self._seed is None:
            return rows
        order = np.random.default_rng([self._seed, bucket]).permutation(len(rows))
        return rows[order]

    def _path(self, bucket: int) -> Path:
        return self._directory / f"{self.split}-{bucket:05d}.rows"
