"""From the TFRecord shards of a data set directory to batches for Keras."""

from pathlib import Path
from typing import Any

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
    shuffle_seed: int | None = None,
) -> tf.data.Dataset:
    """Batches of one split.

    Blocks of rows are shuffled and cut as whole tensors; no row is ever handled alone.

    Args:
        directory: The data set directory.
        schema: Its schema.
        split: `train`, `validation` or `test`.
        batch_size: Rows in a batch; the last batch may hold fewer.
        shuffle_seed: Seed of the order of rows, another one at every pass; `None`
            keeps the order of the files.

    Returns:
        A data set of `({"dense_features": (batch, n) float32,
        "categorical_features": (batch, features) int32}, label (batch, 1) float32)`.

    Raises:
        InputError: If the split has no rows, or a shard is missing or has another
            size than the schema says.
    """
    paths = _checked_paths(Path(directory), schema, split)
    files = tf.data.Dataset.from_tensor_slices(paths)
    if shuffle_seed is None:
        blocks = tf.data.TFRecordDataset(files)
        rows = blocks.map(_parser(schema), num_parallel_calls=tf.data.AUTOTUNE)
    else:
        files = files.shuffle(len(paths), seed=shuffle_seed)
        blocks = files.interleave(
            tf.data.TFRecordDataset,
            cycle_length=OPEN_SHARDS,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        rows = blocks.map(_parser(schema), num_parallel_calls=tf.data.AUTOTUNE)
        rows = _permute_windows(rows, shuffle_seed)
    batches = rows.rebatch(batch_size)
    num_batches = -(-schema.num_rows(split) // batch_size)
    batches = batches.apply(tf.data.experimental.assert_cardinality(num_batches))
    return batches.prefetch(tf.data.AUTOTUNE)


def _checked_paths(directory: Path, schema: FeatureSchema, split: str) -> list[str]:
    if split not in SPLITS:
        raise InputError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
    shards = schema.split_shards(split)
    if not shards:
        raise InputError(f"{directory} has no {split} rows: prepare it with some")
    for shard in shards:
        path = directory / shard.path
        found = path.stat().st_size if path.is_file() else None
        if found != shard.bytes:
            state = "is missing" if found is None else f"has {found:,} bytes"
            raise InputError(
                f"{path} {state}, expected {shard.bytes:,} bytes: the data set is "
                "damaged, prepare it again"
            )
    return [str(directory / shard.path) for shard in shards]


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


def _permute_windows(rows: tf.data.Dataset, seed: int) -> tf.data.Dataset:
    seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)

    def permute(window: Any, window_seed: tf.Tensor) -> Any:
        num_rows = tf.shape(window[1])[0]
        order = tf.random.experimental.stateless_shuffle(
            tf.range(num_rows), seed=tf.stack([window_seed, seed])
        )
        return tf.nest.map_structure(lambda column: tf.gather(column, order), window)

    windows = tf.data.Dataset.zip(rows.rebatch(SHUFFLE_ROWS), seeds)
    return windows.map(permute, num_parallel_calls=tf.data.AUTOTUNE)
