"""Which blocks of rows are read when, worked out from the schema alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfdlrm.data.schema import Shard

WINDOW_ROWS = 1 << 16
"""Rows permuted together; the shards themselves were shuffled when they were made."""


@dataclass(frozen=True)
class WorkerShare:
    """What one of several workers reads of every pass.

    The rows of a pass, one shard after another, are cut into equal runs, one a worker;
    so a worker reads shards of its own, and of those at its ends the rows that are its.
    The run is spread evenly over the steps of the pass, of which all workers have
    equally many.

    Args:
        worker: Number of the worker, from 0.
        num_workers: Number of workers.
        batches_per_step: Devices of the worker, each of which takes a batch in a step.
    """

    worker: int
    num_workers: int
    batches_per_step: int = 1

    def rows(self, num_rows: int, num_steps: int) -> tuple[int, np.ndarray]:
        """The worker's first row in a pass, and the rows of its batches.

        Args:
            num_rows: Rows of the pass.
            num_steps: Training steps of the pass.
        """
        first, end = (
            num_rows * number // self.num_workers
            for number in (self.worker, self.worker + 1)
        )
        num_batches = num_steps * self.batches_per_step
        cuts = np.arange(num_batches + 1) * (end - first) // num_batches
        return first, np.diff(cuts)


@dataclass(frozen=True)
class ReadingOrder:
    """A part of a pass over shards, as windows of whole batches.

    Windows are cut at rows, files hold blocks of rows. A block in which a window ends
    is given to the next one too.

    Args:
        shards: The shards to read, in order; this many of them are open in turn.
        open_shards: How many.
        skipped_blocks: Blocks to leave out before the first.
        uses: In how many windows each block is needed.
        block_rows: Rows of each block.
        num_blocks: Blocks of each window.
        heads: Rows at the beginning of each window's blocks that are not its own.
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
        """Rows of all blocks of each window, its own or not."""
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
    """Say how to read the batches of a pass from `start_batch` on.

    Shards that were read to their end before are not opened at all.

    Args:
        shards: The shards in the order of the pass.
        open_shards: Shards that are read in turn, a block each, before the next ones.
        block_rows: Rows of every block but the last one of a shard.
        batch_size: Rows of a batch, about.
        batch_rows: Rows of each batch of the whole pass.
        start_batch: Number of the first batch wanted, one of them.
        first_row: Row of the shards, in this order, with which the pass begins.
    """
    batch_ends = np.cumsum(batch_rows)
    window_batches = -(-WINDOW_ROWS // batch_size)
    num_windows = max(1, len(batch_rows) // window_batches)
    # The first batch of each window; no window is smaller than the others.
    cuts = np.arange(num_windows + 1) * len(batch_rows) // num_windows
    first_window = int(np.searchsorted(cuts, start_batch, side="right")) - 1
    cuts = cuts[first_window:]
    row_cuts = first_row + np.concatenate([[0], batch_ends])[cuts]

    groups = [shards[i : i + open_shards] for i in range(0, len(shards), open_shards)]
    group_ends = np.cumsum([sum(shard.rows for shard in group) for group in groups])
    first_group = int(np.searchsorted(group_ends, row_cuts[0], side="right"))
    rows_before = int(group_ends[first_group - 1]) if first_group else 0
    blocks = np.concatenate(
        [_blocks_in_turn(group, block_rows) for group in groups[first_group:]]
    )
    ends = rows_before + np.cumsum(blocks)
    first = np.searchsorted(ends, row_cuts[:-1], side="right")
    last = np.searchsorted(ends, row_cuts[1:], side="left")
    skipped = int(first[0])
    end = int(last[-1]) + 1
    uses = np.zeros(len(blocks) + 1, np.int64)
    np.add.at(uses, first, 1)
    np.add.at(uses, last + 1, -1)
    end_group = int(np.searchsorted(group_ends, row_cuts[-1], side="left")) + 1
    return ReadingOrder(
        shards=[shard for group in groups[first_group:end_group] for shard in group],
        open_shards=open_shards,
        skipped_blocks=skipped,
        uses=np.cumsum(uses)[skipped:end],
        block_rows=blocks[skipped:end],
        num_blocks=last - first + 1,
        heads=row_cuts[:-1] - (ends - blocks)[first],
        num_rows=np.diff(row_cuts),
        num_batches=np.diff(cuts),
        first_batch=cuts[:-1],
        first_window=first_window,
        skipped_batches=start_batch - int(cuts[0]),
    )


def _blocks_in_turn(shards: Sequence[Shard], block_rows: int) -> np.ndarray:
    """Rows of the blocks of some shards, a block of each in turn."""
    num_blocks = [-(-shard.rows // block_rows) for shard in shards]
    turns = np.concatenate([np.arange(num) for num in num_blocks])
    sizes = []
    for shard, num in zip(shards, num_blocks, strict=True):
        rows = np.full(num, block_rows)
        rows[-1:] = shard.rows - (num - 1) * block_rows
        sizes.append(rows)
    return np.concatenate(sizes)[np.argsort(turns, kind="stable")]


def file_order_batches(num_rows: int, batch_size: int) -> np.ndarray:
    """Sizes of the batches of a pass, of which the last takes what is left."""
    rows = np.full(-(-num_rows // batch_size), batch_size)
    rows[-1:] -= len(rows) * batch_size - num_rows
    return rows


def training_batches(num_rows: int, batch_size: int) -> np.ndarray:
    """Sizes of the batches of a pass, none much smaller than the others.

    A last batch of a few rows would move the weights as far as a full one does, and
    undo a part of what was learned.
    """
    rows = file_order_batches(num_rows, batch_size)
    if len(rows) > 1:
        shared = int(rows[-2:].sum())
        rows[-2:] = shared - shared // 2, shared // 2
    return rows
