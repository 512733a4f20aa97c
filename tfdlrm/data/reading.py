"""Read batches for Keras from the shards of a data set directory."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.data.parquet_blocks import parquet_blocks
from tfdlrm.data.parquet_files import check_file
from tfdlrm.data.parsing import assemble, parse_records
from tfdlrm.data.reading_order import (
    ReadingOrder,
    WorkerShare,
    file_order_batches,
    plan_reading,
    training_batches,
)
from tfdlrm.data.records import read_records
from tfdlrm.data.schema import SPLITS, FeatureSchema
from tfdlrm.data.shard_check import ShardCheck, refusal

# There is no Python branch or loop for TensorFlow to rewrite, and looking for one takes
# a quarter of the time to set up a pass.
_without_autograph = tf.autograph.experimental.do_not_convert

OPEN_SHARDS = 4
"""Shards read in turn while shuffling, so that a window mixes several of them."""


def read_split(
    directory: Path,
    schema: FeatureSchema,
    split: str,
    batch_size: int,
    shuffle: tuple[int, int] | None = None,
    start_batch: int = 0,
    share: WorkerShare | None = None,
) -> tf.data.Dataset:
    """Read the batches of one split.

    Blocks of rows are shuffled and cut as whole tensors; no row is ever handled alone.
    A damaged record raises one of TensorFlow's errors while it is read; inside
    `damage_named` the error names the file and the record.

    Args:
        directory: The data set directory.
        schema: Schema of the data set.
        split: `train`, `validation` or `test`.
        batch_size: Rows in a batch. In file order the last batch has the remaining
            rows; shuffled, for training, the last two batches share them.
        shuffle: Seed and epoch, which decide the order of rows; `None` keeps the order
            of the files.
        start_batch: Batches to leave out at the beginning. The batches that follow are
            exactly the rest of the same pass, and most earlier rows are not read.
        share: The share of one of several workers in a pass. Then `batch_size` and
            `start_batch` are those of all workers together: the pass has as many steps,
            and a step as many rows, as if one worker read them all.

    Returns:
        A data set of `({"dense_features": (batch, n) float32,
        "categorical_features": (batch, features) int32}, label (batch, 1) float32)`.
        With multi-hot features, the ids are an int32 `tf.RaggedTensor`
        `(batch, features, None)`.

    Raises:
        InputError: If the split has no rows; or if a shard is missing, has another size
            than in the schema, or is a Parquet file with other columns.
    """
    if split not in SPLITS:
        raise InputError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
    directory = storage.at(directory)
    schema.check_shards(directory, split)
    shards = [shard for shard in schema.split_shards(split) if shard.rows]
    if not shards:
        raise InputError(f"{directory} has no {split} rows: prepare it with some")
    seed, open_shards, batch_sizes = None, 1, file_order_batches
    if shuffle is not None:
        rng = np.random.default_rng(shuffle)
        shards = [shards[index] for index in rng.permutation(len(shards))]
        seed, open_shards, batch_sizes = (
            int(rng.integers(2**31)),
            OPEN_SHARDS,
            training_batches,
        )
    num_rows = schema.num_rows(split)
    batch_rows = batch_sizes(num_rows, batch_size)
    if not 0 <= start_batch <= len(batch_rows):
        raise InputError(
            f"start_batch is {start_batch}, expected from 0 to {len(batch_rows)}"
        )
    first_row = 0
    if share is not None:
        open_shards = max(1, min(open_shards, len(shards) // share.num_workers))
        first_row, batch_rows = share.rows(num_rows, len(batch_rows))
        start_batch *= share.batches_per_step
        batch_size = int(batch_rows.max())
    # When no batch is left, plan the last batch and skip it.
    start = min(start_batch, len(batch_rows) - 1)
    order = plan_reading(
        shards, open_shards, schema.block_rows, batch_size, batch_rows, start, first_row
    )
    batches = _batches(_windows(directory, schema, order, seed), batch_rows)
    num_batches = len(batch_rows) - start_batch
    batches = batches.skip(start_batch - start)
    batches = batches.apply(tf.data.experimental.assert_cardinality(num_batches))
    return batches.prefetch(tf.data.AUTOTUNE).with_options(without_tuning())


def without_tuning() -> tf.data.Options:
    """Return options that use as many threads as there are cores, all the time.

    TensorFlow's tuner measures after 10 ms, 20 ms, and so on up to a minute. An
    iterator that is closed often waits for the next measurement: an epoch that should
    end after 11 s ends after 20.47 s, one of several minutes up to a minute late.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


@contextmanager
def damage_named(directory: Path, schema: FeatureSchema) -> Iterator[None]:
    """Name the damaged shard or record if reading fails inside.

    Args:
        directory: The data set directory.
        schema: Schema of the data set.

    Raises:
        InputError: With the file, and with the number of the first damaged record if
            the record's own checksum shows the damage.

    Example:

    ```python
    with damage_named(directory, schema):
        model.fit(read_split(directory, schema, "train", 128))
    ```
    """
    try:
        yield
    except tf.errors.OpError as error:
        if refused := refusal(storage.at(directory), schema):
            raise refused from None
        if isinstance(
            error, (tf.errors.NotFoundError, tf.errors.PermissionDeniedError)
        ):
            schema.check_shards(directory)  # one may be gone since the pass began
        if not isinstance(error, tf.errors.DataLossError):
            raise
        if schema.record_format != "parquet":
            for shard in schema.shards:
                deque(read_records(storage.at(directory) / shard.path), maxlen=0)
        raise


def _windows(
    directory: Path, schema: FeatureSchema, order: ReadingOrder, seed: int | None
) -> tf.data.Dataset:
    """Return each window's columns, the positions of its rows, and its plan."""
    is_block = schema.record_format == "block"
    window_rows = order.window_block_rows
    window_records = order.num_blocks if is_block else window_rows
    blocks = _blocks(directory, schema, order)
    # A block that two windows share is read once. Where there is none, repeating would
    # only make setting up a pass take longer.
    if (order.uses != 1).any():
        blocks = _repeated(blocks, order.uses)
    else:
        blocks = blocks.take(len(order.uses))
    skipped_batches = np.zeros_like(order.heads)
    skipped_batches[0] = order.skipped_batches
    numbers = order.first_window + np.arange(len(order.heads))
    plan = {
        "number": numbers,
        "block_rows": window_rows,
        "head": order.heads,
        "rows": order.num_rows,
        "batches": order.num_batches,
        "first_batch": order.first_batch,
        "skipped_batches": skipped_batches,
    }
    windows = tf.data.Dataset.zip(
        (blocks.rebatch(window_records), tf.data.Dataset.from_tensor_slices(plan))
    )

    @_without_autograph
    def arrange(records: tf.Tensor, window: dict[str, tf.Tensor]) -> Any:
        columns = parse_records(schema, records, window["block_rows"])
        positions = tf.range(window["rows"])
        if seed is not None:
            positions = tf.random.experimental.stateless_shuffle(
                positions, seed=tf.stack([window["number"], seed])
            )
        return columns, window["head"] + positions, window

    return windows.map(arrange, num_parallel_calls=tf.data.AUTOTUNE)


def _repeated(blocks: tf.data.Dataset, uses: np.ndarray) -> tf.data.Dataset:
    """Return each block as many times as it is used."""

    @_without_autograph
    def repeat(block: Any, num_uses: tf.Tensor) -> Any:
        return tf.nest.map_structure(lambda column: tf.tile(column, [num_uses]), block)

    return tf.data.Dataset.zip((blocks, tf.data.Dataset.from_tensor_slices(uses))).map(
        repeat, num_parallel_calls=tf.data.AUTOTUNE
    )


def _blocks(
    directory: Path, schema: FeatureSchema, order: ReadingOrder
) -> tf.data.Dataset:
    """Read each block's records, serialized or as columns, from the first needed on."""
    paths = [str(directory / shard.path) for shard in order.shards]
    num_records = 1 if schema.record_format == "block" else schema.block_rows
    if schema.record_format == "parquet":
        for shard in order.shards:
            check_file(directory / shard.path, schema)

    check = ShardCheck(directory, schema)

    def read(path: tf.Tensor) -> tf.data.Dataset:
        path = check(path)
        if schema.record_format == "parquet":
            return parquet_blocks(path, schema, num_records)
        return tf.data.TFRecordDataset(path).batch(num_records)

    @_without_autograph
    def in_turn(group: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(group).interleave(
            read,
            cycle_length=order.open_shards,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    if len(paths) <= order.open_shards:
        return in_turn(tf.constant(paths)).skip(order.skipped_blocks)
    groups = tf.data.Dataset.from_tensor_slices(paths).batch(order.open_shards)
    return groups.flat_map(in_turn).skip(order.skipped_blocks)


def _batches(windows: tf.data.Dataset, batch_rows: np.ndarray) -> tf.data.Dataset:
    """Cut windows into batches; only here rows are moved."""
    cuts = tf.constant(np.concatenate([[0], np.cumsum(batch_rows)]), tf.int64)

    @_without_autograph
    def cut(columns: Any, positions: tf.Tensor, window: dict[str, tf.Tensor]) -> Any:
        def batch(number: tf.Tensor) -> Any:
            number += window["first_batch"]
            window_start = cuts[window["first_batch"]]
            rows = positions[
                cuts[number] - window_start : cuts[number + 1] - window_start
            ]
            features, label = tf.nest.map_structure(
                lambda column: tf.gather(column, rows), columns
            )
            return assemble(features), label

        numbers = tf.data.Dataset.range(window["skipped_batches"], window["batches"])
        return numbers.map(batch)

    return windows.flat_map(cut)
