"""Data set shards: TFRecord files whose records hold a block of rows each."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from tfdlrm.schema import Shard


def row_type(num_dense: int, num_categorical: int) -> np.dtype:
    """One row as it is kept between encoding and writing, in the file's byte order."""
    return np.dtype(
        [
            ("label", "<f4"),
            ("dense_features", "<f4", (num_dense,)),
            ("categorical_features", "<i4", (num_categorical,)),
        ]
    )


def shard_path(split: str, index: int, num_shards: int) -> str:
    """Path of a shard in its data set.

    Example:

    >>> shard_path("train", 0, 64)
    'train/part-00000-of-00064.tfrecord'
    """
    return f"{split}/part-{index:05d}-of-{num_shards:05d}.tfrecord"


def write_shard(rows: np.ndarray, directory: Path, path: str, block_rows: int) -> Shard:
    """Write `rows` as one TFRecord file.

    Args:
        rows: Array of `row_type`.
        directory: The data set directory.
        path: Where the file goes, relative to it.
        block_rows: Rows in one record; the last record takes what remains.

    Returns:
        The file's entry in the schema.

    Raises:
        OSError: If the file cannot be written.
    """
    tf = import_tensorflow()
    target = directory / path
    target.parent.mkdir(exist_ok=True)
    try:
        with tf.io.TFRecordWriter(str(target)) as writer:
            for start in range(0, len(rows), block_rows):
                writer.write(_record(tf, rows[start : start + block_rows]))
    except tf.errors.OpError as error:
        raise OSError(error.message) from error
    with target.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return Shard(path, len(rows), target.stat().st_size, checksum)


def _record(tf: Any, block: np.ndarray) -> bytes:
    """A block of rows as a serialized `tf.train.Example`, one value a column."""
    feature = {
        name: tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[block[name].tobytes()])
        )
        for name in block.dtype.names or ()
    }
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return example.SerializeToString(deterministic=True)


def import_tensorflow() -> Any:
    """TensorFlow, without the build flags that it prints when it is imported.

    It is imported here and not above because that takes seconds, which `--help` and a
    malformed first row should not wait for.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow

    return tensorflow
