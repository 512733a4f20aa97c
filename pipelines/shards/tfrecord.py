"""Write shards: TFRecord files of blocks of rows, or of one row a record."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c

from pipelines.ids.encoded_rows import EncodedRows
from pipelines.logs.columns import Columns
from pipelines.shards.examples import bytes_example, row_examples
from pipelines.shards.parquet_shard import write_parquet_shard
from tfdlrm.base.storage import whole
from tfdlrm.data.block_format import ORIGIN, bag_fields
from tfdlrm.data.records import record_footer, record_header
from tfdlrm.data.schema import RecordFormat
from tfdlrm.data.shards import Shard


@dataclass(frozen=True)
class ShardFormat:
    """The format of a data set's shards.

    Args:
        block_rows: Rows in one block; the last block takes the remaining rows.
        record_format: `block`, `row` for records of one row, or `parquet` for Parquet
            files instead.
        columns: Names of the features.
        fingerprint: Fingerprint of the data set, which every block carries, since a
            stream may bring it to a model.
    """

    block_rows: int
    record_format: RecordFormat = "block"
    columns: Columns = field(default_factory=Columns.criteo)
    fingerprint: str | None = None


def shard_path(
    split: str, index: int, num_shards: int, record_format: RecordFormat = "block"
) -> str:
    """Return the path of a shard in its data set.

    Example:

    >>> shard_path("train", 0, 64)
    'train/part-00000-of-00064.tfrecord'
    """
    suffix = "parquet" if record_format == "parquet" else "tfrecord"
    return f"{split}/part-{index:05d}-of-{num_shards:05d}.{suffix}"


def write_shard(
    rows: EncodedRows, directory: Path, path: str, shard_format: ShardFormat
) -> Shard:
    """Write `rows` as one file, complete or not at all.

    Args:
        rows: The rows.
        directory: The data set directory.
        path: Path of the file, relative to it.
        shard_format: Format of the file.

    Returns:
        The file's entry in the schema.

    Raises:
        OSError: If the file cannot be written.
    """
    target = directory / path
    target.parent.mkdir(exist_ok=True)
    if shard_format.record_format == "parquet":
        return write_parquet_shard(rows, directory, path, shard_format.columns)
    if shard_format.record_format == "row":
        payloads = row_examples(rows, shard_format.columns)
    else:
        payloads = _blocks(rows, shard_format)
    checksum = hashlib.sha256()
    num_bytes = crc32c = 0
    with whole(target) as temporary, temporary.open("wb") as file:
        for payload in payloads:
            header = record_header(len(payload))
            for part in (header, payload, record_footer(payload)):
                checksum.update(part)
                crc32c = google_crc32c.extend(crc32c, part)
                num_bytes += file.write(part)
    return Shard(path, len(rows), num_bytes, checksum.hexdigest(), crc32c)


def _blocks(rows: EncodedRows, shard_format: ShardFormat) -> Iterator[bytes]:
    names = rows.fixed.dtype.names or ()
    bags = [bag_fields(name) for name in shard_format.columns.multi_hot]
    for block in rows.blocks(shard_format.block_rows):
        values = {name: block.fixed[name].tobytes() for name in names}
        for fields, ids in zip(bags, block.bags, strict=True):
            values[fields.values.name] = ids.values.tobytes()
            values[fields.lengths.name] = ids.lengths.tobytes()
        if shard_format.fingerprint is not None:
            values[ORIGIN] = shard_format.fingerprint.encode()
        yield bytes_example(values)
