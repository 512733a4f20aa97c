"""Data set shards: TFRecord files of blocks of rows, or of one row a record."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import google_crc32c

from pipelines.ids.encoded_rows import EncodedRows
from pipelines.logs.columns import Columns
from pipelines.shards.examples import bytes_example, row_examples
from pipelines.shards.parquet_shard import write_parquet_shard
from tfdlrm.base.storage import whole
from tfdlrm.data.meaning import RECORD_FEATURE
from tfdlrm.data.records import record_footer, record_header
from tfdlrm.data.schema import RecordFormat, Shard


def shard_path(
    split: str, index: int, num_shards: int, record_format: RecordFormat = "block"
) -> str:
    """Path of a shard in its data set.

    Example:

    >>> shard_path("train", 0, 64)
    'train/part-00000-of-00064.tfrecord'
    """
    suffix = "parquet" if record_format == "parquet" else "tfrecord"
    return f"{split}/part-{index:05d}-of-{num_shards:05d}.{suffix}"


def write_shard(
    rows: EncodedRows,
    directory: Path,
    path: str,
    block_rows: int,
    record_format: RecordFormat = "block",
    columns: Columns | None = None,
    mark: str | None = None,
) -> Shard:
    """Write `rows` as one file.

    The file is written aside and then renamed: under its name it is whole.

    Args:
        rows: The rows.
        directory: The data set directory.
        path: Where the file goes, relative to it.
        block_rows: Rows in one record; the last record takes what remains.
        record_format: `block`, `row` for records of one row, or `parquet` for a
            Parquet file instead.
        columns: Names of the features; Criteo's when `None`.
        mark: Fingerprint of the data set, which every block bears, since a stream may
            bring it to a model.

    Returns:
        The file's entry in the schema.

    Raises:
        OSError: If the file cannot be written.
    """
    target = directory / path
    target.parent.mkdir(exist_ok=True)
    columns = columns or Columns.criteo()
    if record_format == "parquet":
        return write_parquet_shard(rows, directory, path, columns)
    if record_format == "row":
        payloads = row_examples(rows, columns)
    else:
        payloads = _blocks(rows, block_rows, columns.multi_hot, mark)
    checksum = hashlib.sha256()
    num_bytes = crc32c = 0
    with whole(target) as aside, aside.open("wb") as file:
        for payload in payloads:
            header = record_header(len(payload))
            for part in (header, payload, record_footer(payload)):
                checksum.update(part)
                crc32c = google_crc32c.extend(crc32c, part)
                num_bytes += file.write(part)
    return Shard(path, len(rows), num_bytes, checksum.hexdigest(), crc32c)


def _blocks(
    rows: EncodedRows,
    block_rows: int,
    multi_hot: Sequence[str],
    mark: str | None,
) -> Iterator[bytes]:
    names = rows.fixed.dtype.names or ()
    for block in rows.blocks(block_rows):
        values = {name: block.fixed[name].tobytes() for name in names}
        for name, bags in zip(multi_hot, block.bags, strict=True):
            values[f"{name}.values"] = bags.values.tobytes()
            values[f"{name}.row_lengths"] = bags.lengths.tobytes()
        if mark is not None:
            values[RECORD_FEATURE] = mark.encode()
        yield bytes_example(values)
