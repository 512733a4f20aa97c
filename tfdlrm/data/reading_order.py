"""Plan from the schema alone which blocks of rows are read when."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfdlrm.data.shards import Shard

WINDOW_ROWS = 1 << 16
"""Rows permuted together; the shards themselves were shuffled when written."""


@dataclass(frozen=True)
class WorkerShare:
    """The share of one of several workers in every pass.

    The rows of a pass, shard after shard, are cut into equal runs, one a worker. So a
    worker has shards of its own, and shares at most the first and the last of them. The
    run is spread evenly over the steps of the pass; all workers have the same number of
    steps.

    Args:
        worker: Number of the worker, from 0.
        num_workers: Number of workers.
        batches_per_step: Devices of the worker, each of which takes a batch in a step.
    """

    worker: int
    num_workers: int
    batches_per_step: int = 1

    def rows(self, num_rows: int, num_steps: int) -> tuple[int, np.ndarray]:
        """Return the worker's first row in a pass, and the sizes of its batches.

        Args:
            num_rows: Number of rows of the pass.
            num_steps: Number of training steps of the pass.
        """
        first_row, end_row = (
            num_rows * number // self.num_workers
            for number in (self.worker, self.worker + 1)
        )
        num_batches = num_steps * self.batches_per_step
        cuts = np.arange(num_batches + 1) * (end_row - first_row) // num_batches
        return first_row, np.diff(cuts)


@dataclass(frozen=True)
class ReadingOrder:
    """A part of a pass over shards, as windows of whole batches.

    Windows begin and end at any row, but files are read in blocks of rows. A block in
    which a window ends belongs to the next window too.

    Args:
        shards: The shards to read, in order.
        open_shards: Number of shards that are read in turn.
        skipped_blocks: Number of blocks to leave out at the beginning.
        uses: Number of windows that need each block.
        block_rows: Rows of each block.
        num_blocks: Blocks of each window.
        heads: Rows at the beginning of each window's blocks that belong to the window
            before.
        num_rows: Rows of each window.
        num_batches: Batches of each window.
        first_batch: Number of each window's first batch in the pass.
        first_window: Number of the first window in the pass.
        skipped_batches: Batches to leave out at the beginning of the first window.
    """

    shards: list[Shard]
    open_shards: int
    skipped_blocks: int
    uses: np.ndarray
    block_rows: np.ndarray
    num_blocks: np.ndarray
    heads: np.ndarray
    num_rows: np.ndarray
    num_batches: np.ndarray
    first_batch: np.ndarray
    first_window: int
    skipped_batches: int

    @property
    def window_block_rows(self) -> np.ndarray:
        """Rows of all blocks of each window, with those of other windows."""
        rows = np.repeat(self.block_rows, self.uses)
        return np.add.reduceat(rows, np.cumsum(self.num_blocks) - self.num_blocks)


def plan_reading(
    shards: Sequence[Shard],
    open_shards: int,
    block_rows: int,
    batch_size: int,
    batch_rows: np.ndarray,
    start_batch: int,
    first_row: int = 0,
) -> ReadingOrder:
    """Plan how to read the batches of a pass from `start_batch` on.

    Shards whose rows all come before are not opened.

    Args:
        shards: The shards in the order of the pass.
        open_shards: Number of shards that are read in turn, a block each.
        block_rows: Rows of every block except the last one of a shard.
        batch_size: Rows of a batch, about.
        batch_rows: Rows of each batch of the whole pass.
        start_batch: Number of the first batch to read.
        first_row: Row of the shards, in this order, with which the pass begins.
    """
    batch_ends = np.cumsum(batch_rows)
    window_batches = -(-WINDOW_ROWS // batch_size)
    num_windows = max(1, len(batch_rows) // window_batches)
    # The first batch of each window; windows have about the same size.
    cuts = np.arange(num_windows + 1) * len(batch_rows) // num_windows
    first_window = int(np.searchsorted(cuts, start_batch, side="right")) - 1
    cuts = cuts[first_window:]
    row_cuts = first_row + np.concatenate([[0], batch_ends])[cuts]

    groups = [
        shards[start : start + open_shards]
        for start in range(0, len(shards), open_shards)
    ]
    group_ends = np.cumsum([sum(shard.rows for shard in group) for group in groups])
    first_group = int(np.searchsorted(group_ends, row_cuts[0], side="right"))
    rows_before = int(group_ends[first_group - 1]) if first_group else 0
    blocks = np.concatenate(
        [_blocks_in_turn(group, block_rows) for group in groups[first_group:]]
    )
    block_ends = rows_before + np.cumsum(blocks)
    first_blocks = np.searchsorted(block_ends, row_cuts[:-1], side="right")
    last_blocks = np.searchsorted(block_ends, row_cuts[1:], side="left")
    first_block = int(first_blocks[0])
    end_block = int(last_blocks[-1]) + 1
    use_changes = np.zeros(len(blocks) + 1, np.int64)
    np.add.at(use_changes, first_blocks, 1)
    np.add.at(use_changes, last_blocks + 1, -1)
    end_group = int(np.searchsorted(group_ends, row_cuts[-1], side="left")) + 1
    return ReadingOrder(
        shards=[shard for group in groups[first_group:end_group] for shard in group],
        open_shards=open_shards,
        skipped_blocks=first_block,
        uses=np.cumsum(use_changes)[first_block:end_block],
        block_rows=blocks[first_block:end_block],
        num_blocks=last_blocks - first_blocks + 1,
        heads=row_cuts[:-1] - (block_ends - blocks)[first_blocks],
        num_rows=np.diff(row_cuts),
        num_batches=np.diff(cuts),
        first_batch=cuts[:-1],
        first_window=first_window,
        skipped_batches=start_batch - int(cuts[0]),
    )


def _blocks_in_turn(shards: Sequence[Shard], block_rows: int) -> np.ndarray:
    """Return the rows of the blocks of some shards, a block of each shard in turn."""
    num_blocks = [-(-shard.rows // block_rows) for shard in shards]
    turns = np.concatenate([np.arange(count) for count in num_blocks])
    sizes = []
    for shard, count in zip(shards, num_blocks, strict=True):
        rows = np.full(count, block_rows)
        rows[-1:] = shard.rows - (count - 1) * block_rows
        sizes.append(rows)
    return np.concatenate(sizes)[np.argsort(turns, kind="stable")]


def file_order_batches(num_rows: int, batch_size: int) -> np.ndarray:
    """Return the sizes of the batches of a pass; the last has the remaining rows."""
    rows = np.full(-(-num_rows // batch_size), batch_size)
    rows[-1:] -= len(rows) * batch_size - num_rows
    return rows


def training_batches(num_rows: int, batch_size: int) -> np.ndarray:
    """Return the sizes of the batches of a pass, none much smaller than the others.

    A last batch of a few rows would move the weights as far as a full batch, and undo a
    part of what was learned.
    """
    rows = file_order_batches(num_rows, batch_size)
    if len(rows) > 1:
        num_shared = int(rows[-2:].sum())
        rows[-2:] = num_shared - num_shared // 2, num_shared // 2
    return rows
