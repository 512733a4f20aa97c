"""Each shard is checked as a whole before a process first reads rows of it.

TFRecords have a checksum in each record, but none that tells a shard from another one;
Parquet files have none that tensorflow-io would look at.
"""

from collections import deque
from pathlib import Path

import tensorflow as tf

from tfdlrm.base.checksums import file_crc32c, file_sha256
from tfdlrm.base.errors import InputError
from tfdlrm.data.records import read_records
from tfdlrm.data.schema import FeatureSchema, RecordFormat, Shard, unreadable_shard

_whole: dict[str, tuple[object, ...]] = {}
"""The shards that were checked, by path, and what would differ for another file."""

_refused: dict[str, InputError] = {}
"""Why a shard was refused, by path: TensorFlow hands on no exceptions."""


class ShardCheck:
    """Checks shards inside a `tf.data` graph, in the threads that read them.

    Args:
        directory: The data set directory.
        schema: Its schema.
    """

    def __init__(self, directory: Path, schema: FeatureSchema) -> None:
        self._shards = {
            str(directory / shard.path): (directory / shard.path, shard)
            for shard in schema.shards
        }
        self._record_format = schema.record_format

    def __call__(self, path: tf.Tensor) -> tf.Tensor:
        """Return `path` when its shard is whole.

        Args:
            path: Path of a shard.

        Raises:
            tf.errors.OpError: While it runs, if the shard is not what was written;
                `refusal` knows why.
        """
        checked = tf.numpy_function(self._check, [path], tf.string)
        return tf.ensure_shape(checked, [])

    def _check(self, path: bytes) -> bytes:
        name = path.decode()
        try:
            check_shard(*self._shards[name], self._record_format)
        except InputError as error:
            _refused[name] = error
            raise
        _refused.pop(name, None)
        return path


def refusal(directory: Path, schema: FeatureSchema) -> InputError | None:
    """Return why a shard of a data set was refused, if one was."""
    paths = (str(directory / shard.path) for shard in schema.shards)
    return next((_refused[path] for path in paths if path in _refused), None)


def check_shard(path: Path, shard: Shard, record_format: RecordFormat) -> None:
    """Check a shard, unless this process has done so and it is the same file.

    Args:
        path: The file.
        shard: What the schema says of it.
        record_format: What its data set consists of.

    Raises:
        InputError: If it is not what was written, or cannot be read.
    """
    try:
        stat = path.stat()
        file = (stat.st_ino, stat.st_size, stat.st_mtime_ns, shard)
        if _whole.get(str(path)) == file:
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
    _whole[str(path)] = file


def _is_same(path: Path, shard: Shard) -> bool:
    if shard.crc32c is not None:
        return file_crc32c(path) == shard.crc32c
    return file_sha256(path) == shard.sha256
