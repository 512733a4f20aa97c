"""Tensors of a SavedModel, read in pieces.

TensorFlow reads a tensor as a whole, even if it is asked for some rows. Its index is a
LevelDB table without compression, from names to messages that say where in the files of
data the bytes of a tensor are.

Reference: `tensorflow/core/util/tensor_bundle/tensor_bundle.h` and LevelDB's
`doc/table_format.md`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import tensor_bundle_pb2

from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.entries import PIECE_BYTES, Piece
from tfdlrm.data.records import masked

_FOOTER_BYTES = 48
_MAGIC = bytes.fromhex("57fb808b247547db")
_HEADER = b""
"""Name of the entry that describes the index itself."""


@dataclass(frozen=True)
class StoredTensor:
    """The bytes of a tensor.

    Args:
        name: Name of the tensor.
        path: The file that holds it.
        offset: First of its bytes.
        dtype: NumPy's type of its numbers.
        shape: Its shape.
        crc: Masked CRC32C of its bytes.
    """

    name: str
    path: Path
    offset: int
    dtype: Any
    shape: tuple[int, ...]
    crc: int

    def pieces(self) -> Iterator[Piece]:
        """Yield the rows, some megabytes at a time; a scalar as a whole.

        Raises:
            InputError: If they are not the bytes that were written; pieces may have
                been yielded before.
        """
        crc = 0
        num_rows, *widths = self.shape or (1,)
        width = int(np.prod(widths, dtype=np.int64))
        step = max(1, PIECE_BYTES // max(1, width * self.dtype.itemsize))
        with self.path.open("rb") as file:
            file.seek(self.offset)
            for start in range(0, num_rows, step):
                rows = range(start, min(start + step, num_rows))
                contents = file.read(len(rows) * width * self.dtype.itemsize)
                crc = google_crc32c.extend(crc, contents)
                if len(contents) != len(rows) * width * self.dtype.itemsize:
                    break
                values = np.frombuffer(contents, self.dtype)
                if self.shape:
                    yield Piece(self.name, values.reshape(len(rows), *widths), rows)
                else:
                    yield Piece(self.name, values[0])
        if masked(crc) != self.crc:
            raise _damaged(self.path, f"the checksum of {self.name} is wrong")


def stored_tensors(prefix: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a checkpoint or a SavedModel by name, without their values.

    Text and other tensors whose bytes are no numbers are left out.

    Args:
        prefix: Path of the index without `.index`, on this machine.

    Raises:
        InputError: If the index is missing or damaged.
    """
    path = prefix.with_name(f"{prefix.name}.index")
    try:
        entries = _read_table(path.read_bytes())
        header = tensor_bundle_pb2.BundleHeaderProto()
        header.ParseFromString(entries.pop(_HEADER))
        tensors = {}
        for name, contents in entries.items():
            entry = tensor_bundle_pb2.BundleEntryProto()
            entry.ParseFromString(contents)
            dtype = tf.as_dtype(entry.dtype)
            if dtype.is_floating or dtype.is_integer or dtype.is_bool:
                tensors[name.decode()] = _tensor(prefix, name.decode(), entry, header)
        return tensors
    except (OSError, ValueError, KeyError, IndexError, DecodeError) as error:
        raise _damaged(path, str(error) or type(error).__name__) from None


def _tensor(prefix: Path, name: str, entry: Any, header: Any) -> StoredTensor:
    file = f"{prefix.name}.data-{entry.shard_id:05d}-of-{header.num_shards:05d}"
    return StoredTensor(
        name,
        prefix.with_name(file),
        entry.offset,
        np.dtype(tf.as_dtype(entry.dtype).as_numpy_dtype),
        tuple(int(side.size) for side in entry.shape.dim),
        entry.crc32c,
    )


def _read_table(contents: bytes) -> dict[bytes, bytes]:
    """Return the entries of a LevelDB table.

    Raises:
        ValueError, IndexError: If it is not one, or is compressed.
    """
    footer = contents[-_FOOTER_BYTES:]
    if not footer.endswith(_MAGIC):
        raise ValueError("it is not an index of tensors")
    position = 0
    for _ in range(2):  # the first block has no entries
        offset, position = _varint(footer, position)
        size, position = _varint(footer, position)
    entries: dict[bytes, bytes] = {}
    for handle in _read_block(contents, offset, size).values():
        block_offset, position = _varint(handle, 0)
        block_size, _ = _varint(handle, position)
        entries |= _read_block(contents, block_offset, block_size)
    return entries


def _read_block(contents: bytes, offset: int, size: int) -> dict[bytes, bytes]:
    """Return the entries of a block; each name repeats the start of the one before."""
    block = contents[offset : offset + size + 5]
    crc = google_crc32c.value(block[:-4])
    if masked(crc) != int.from_bytes(block[-4:], "little"):
        raise ValueError("its checksum is wrong")
    if block[size] != 0:
        raise ValueError("it is compressed")
    num_restarts = int.from_bytes(block[size - 4 : size], "little")
    end = size - 4 * (num_restarts + 1)
    entries, name, position = {}, b"", 0
    while position < end:
        num_shared, position = _varint(block, position)
        num_new, position = _varint(block, position)
        num_bytes, position = _varint(block, position)
        name = name[:num_shared] + block[position : position + num_new]
        position += num_new
        entries[name] = block[position : position + num_bytes]
        position += num_bytes
    return entries


def _varint(contents: bytes, position: int) -> tuple[int, int]:
    """Return a number of variable length, and the position behind it."""
    number = shift = 0
    while True:
        byte = contents[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is damaged ({reason}): copy or export the version again")
