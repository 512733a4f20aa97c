"""From the TFRecord shards of a data set directory to batches for Keras."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdlrm.errors import InputError
from tfdlrm.schema import SPLITS, FeatureSchema

SHUFFLE_ROWS = 1 << 16
"""Rows permuted together; the shards themselves were shuffled when they were made."""

OPEN_SHARDS = 4
"""Shards read in turn while shuffling, so that a window mixes several of them."""


def read_split(
    directory: Path,
    schema: FeatureSchema,
    split: str,
    batch_size: int,
    shuffle: tuple[int, int] | None = None,
) -> tf.data.Dataset:
    """Batches of one split.

    Blocks of rows are shuffled and cut as whole tensors; no row is ever handled alone.

    Args:
        directory: The data set directory.
        schema: Its schema.
        split: `train`, `validation` or `test`.
        batch_size: Rows in a batch. In file order the last batch holds what is left;
            shuffled, for training, the last two batches share it.
        shuffle: Seed and epoch, which decide the order of rows; `None` keeps the order
            of the files.

    Returns:
        A data set of `({"dense_features": (batch, n) float32,
        "categorical_features": (batch, features) int32}, label (batch, 1) float32)`.

    Raises:
        InputError: If the split has no rows, or a shard is missing or has another
            size than the schema says.
    """
    if split not in SPLITS:
        raise InputError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
    paths = [str(path) for path in schema.check_shards(Path(directory), split)]
    if not paths:
        raise InputError(f"{directory} has no {split} rows: prepare it with some")
    if shuffle is None:
        blocks = tf.data.TFRecordDataset(paths)
        rows = blocks.map(_parser(schema), num_parallel_calls=tf.data.AUTOTUNE)
        batches = rows.rebatch(batch_size)
    else:
        rng = np.random.default_rng(shuffle)
        files = tf.data.Dataset.from_tensor_slices(rng.permutation(paths))
        blocks = files.interleave(
            tf.data.TFRecordDataset,
            cycle_length=OPEN_SHARDS,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        rows = blocks.map(_parser(schema), num_parallel_calls=tf.data.AUTOTUNE)
        rows = _permute_windows(rows, seed=int(rng.integers(2**31)))
        batches = rows.rebatch(_training_batches(schema.num_rows(split), batch_size))
    num_batches = -(-schema.num_rows(split) // batch_size)
    batches = batches.apply(tf.data.experimental.assert_cardinality(num_batches))
    return batches.prefetch(tf.data.AUTOTUNE)


def _parser(schema: FeatureSchema) -> Any:
    """A function from one serialized block to the tensors of its rows."""
    num_dense = len(schema.dense_features)
    num_categorical = len(schema.categorical_features)
    spec = {
        name: tf.io.FixedLenFeature([], tf.string)
        for name in ("label", "dense_features", "categorical_features")
    }

    def parse(record: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        block = tf.io.parse_single_example(record, spec)
        label = tf.io.decode_raw(block["label"], tf.float32)
        dense = tf.io.decode_raw(block["dense_features"], tf.float32)
        ids = tf.io.decode_raw(block["categorical_features"], tf.int32)
        features = {
            "dense_features": tf.reshape(dense, [-1, num_dense]),
            "categorical_features": tf.reshape(ids, [-1, num_categorical]),
        }
        return features, tf.reshape(label, [-1, 1])

    return parse


def _training_batches(num_rows: int, batch_size: int) -> list[int]:
    """Sizes of the batches of a pass, none much smaller than the others.

    A last batch of a few rows would move the weights as far as a full one does, and
    undo a part of what was learned.
    """
    num_full, rest = divmod(num_rows, batch_size)
    if not num_full or not rest:
        return [batch_size] * num_full or [rest]
    shared = batch_size + rest
    return [batch_size] * (num_full - 1) + [shared - shared // 2, shared // 2]


def _permute_windows(rows: tf.data.Dataset, seed: int) -> tf.data.Dataset:
    def permute(number: tf.Tensor, window: Any) -> Any:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(tf.shape(window[1])[0]), seed=tf.stack([number, seed])
        )
        return tf.nest.map_structure(lambda column: tf.gather(column, order), window)

    windows = rows.rebatch(SHUFFLE_ROWS).enumerate()
    return windows.map(permute, num_parallel_calls=tf.data.AUTOTUNE)
