import hashlib

import numpy as np
import pytest
import tensorflow as tf

from pipelines.ids.encoded_rows import EncodedRows
from pipelines.shards.tfrecord import ShardFormat, write_shard
from tfdlrm.base import storage
from tfdlrm.data.block_format import row_type


def make_rows(num_rows: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = np.empty(num_rows, row_type(3, 2))
    rows["label"] = rng.integers(2, size=num_rows)
    rows["dense_features"] = rng.random((num_rows, 3))
    rows["categorical_features"] = rng.integers(2**31, size=(num_rows, 2))
    return rows


def test_a_shard_holds_blocks_of_rows_as_raw_bytes(tmp_path):
    rows = make_rows(10)
    shard = write_shard(
        EncodedRows(rows), tmp_path, "train/part.tfrecord", ShardFormat(block_rows=4)
    )
    blocks = [
        tf.train.Example.FromString(record.numpy()).features.feature
        for record in tf.data.TFRecordDataset(str(tmp_path / shard.path))
    ]
    assert [set(block) for block in blocks] == [set(rows.dtype.names)] * 3
    start = 0
    for block, size in zip(blocks, [4, 4, 2], strict=True):
        for name, number, width in [
            ("label", "<f4", ()),
            ("dense_features", "<f4", (3,)),
            ("categorical_features", "<i4", (2,)),
        ]:
            (value,) = block[name].bytes_list.value
            values = np.frombuffer(value, number).reshape(size, *width)
            np.testing.assert_array_equal(values, rows[name][start : start + size])
        start += size


def test_a_shard_is_described_as_it_is_on_disk(tmp_path):
    shard = write_shard(
        EncodedRows(make_rows(10)),
        tmp_path,
        "test/part.tfrecord",
        ShardFormat(block_rows=4),
    )
    stored = (tmp_path / "test" / "part.tfrecord").read_bytes()
    assert shard.rows == 10
    assert shard.bytes == len(stored)
    assert shard.sha256 == hashlib.sha256(stored).hexdigest()


def test_a_full_disk_is_an_operating_system_error(tmp_path, monkeypatch):
    monkeypatch.setattr(storage.secrets, "token_hex", lambda num_bytes: "full")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / ".part.tfrecord.full.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_shard(
            EncodedRows(make_rows(10_000)),
            tmp_path,
            "train/part.tfrecord",
            ShardFormat(block_rows=4),
        )
