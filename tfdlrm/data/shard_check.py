"""Check each shard as a whole before a process first reads rows of it.

TFRecords have a checksum in each record, but none that distinguishes one shard from
another. Parquet files have none that tensorflow-io checks.
"""

from collections import deque
from pathlib import Path

import tensorflow as tf

from tfdlrm.base.checksums import file_crc32c, file_sha256
from tfdlrm.base.errors import InputError
from tfdlrm.data.records import read_records
from tfdlrm.data.schema import FeatureSchema, RecordFormat
from tfdlrm.data.shards import Shard, unreadable_shard

_good_shards: dict[str, tuple[object, ...]] = {}
"""The identity of each file that was checked, by path."""

_refusals: dict[str, InputError] = {}
"""The error of each refused shard, by path: TensorFlow does not pass on exceptions."""


class ShardCheck:
    """Check shards inside a `tf.data` graph, in the threads that read them.

    Args:
        directory: The data set directory.
        schema: Schema of the data set.
    """

    def __init__(self, directory: Path, schema: FeatureSchema) -> None:
        self._shards = {
            str(directory / shard.path): (directory / shard.path, shard)
            for shard in schema.shards
        }
        self._record_format = schema.record_format

    def __call__(self, path: tf.Tensor) -> tf.Tensor:
        """Return the path of a shard once it is checked.

        Raises:
            tf.errors.OpError: While the graph runs, if the shard is not the one that
                was written; `refusal` returns the reason.
        """
        checked_path = tf.numpy_function(self._check, [path], tf.string)
        return tf.ensure_shape(checked_path, [])

    def _check(self, path: bytes) -> bytes:
        name = path.decode()
        try:
            check_shard(*self._shards[name], self._record_format)
        except InputError as error:
            _refusals[name] = error
            raise
        _refusals.pop(name, None)
        return path


def refusal(directory: Path, schema: FeatureSchema) -> InputError | None:
    """Return the error of a refused shard of a data set, if there is one."""
    paths = (str(directory / shard.path) for shard in schema.shards)
    return next((_refusals[path] for path in paths if path in _refusals), None)


def check_shard(path: Path, shard: Shard, record_format: RecordFormat) -> None:
    """Check a shard, unless this process has checked the same file before.

    Args:
        path: Path of the shard.
        shard: Entry of the shard in the schema.
        record_format: Record format of the data set.

    Raises:
        InputError: If the file is not the one that was written, or cannot be read.
    """
    try:
        stat = path.stat()
        file = (stat.st_ino, stat.st_size, stat.st_mtime_ns, shard)
        if _good_shards.get(str(path)) == file:
            return
        is_same = _is_same(path, shard)
    except OSError as error:
        raise unreadable_shard(path, error) from None
    if not is_same:
        if record_format != "parquet":
            deque(read_records(path), maxlen=0)  # names the first damaged record
        raise InputError(
            f"{path} is not the shard that was written, by its checksum: the data set "
            "is damaged; remove it and prepare it again"
        )
    _good_shards[str(path)] = file


def _is_same(path: Path, shard: Shard) -> bool:
    if shard.crc32c is not None:
        return file_crc32c(path) == shard.crc32c
    return file_sha256(path) == shard.sha256
