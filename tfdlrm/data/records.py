"""Frames of a TFRecord file: lengths and checksums, without TensorFlow.

A record is the length of its payload in eight bytes, the masked CRC32C of these bytes
in four, the payload, and the masked CRC32C of the payload in four, all little-endian.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from tfdlrm.base.errors import InputError

HEADER_BYTES = 12
FOOTER_BYTES = 4

MAX_PAYLOAD_BYTES = 2**31 - 1
"""The limit of protocol buffers; a longer record is no `tf.train.Example`."""


def masked_crc32c(contents: bytes) -> int:
    """Return the checksum that TFRecord files use.

    It is masked because a CRC of bytes that contain their own CRC cannot be trusted.

    Example:

    >>> hex(masked_crc32c(b"123456789"))
    '0xc78ab0e5'
    """
    return masked(google_crc32c.value(contents))


def masked(crc: int) -> int:
    """Return the mask of a CRC32C."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record_header(num_bytes: int) -> bytes:
    """Return the bytes before a payload of `num_bytes`."""
    length = struct.pack("<Q", num_bytes)
    return length + struct.pack("<I", masked_crc32c(length))


def record_footer(payload: bytes) -> bytes:
    """Return the bytes after `payload`."""
    return struct.pack("<I", masked_crc32c(payload))


_OF_A_DATA_SET = "the data set is damaged; remove it and prepare it again"


def read_records(
    path: Path, remedy: str = _OF_A_DATA_SET
) -> Iterator[tuple[int, bytes]]:
    """Read a TFRecord file and check every byte of it.

    Args:
        path: The file.
        remedy: What to do about a damaged record, for messages.

    Yields:
        Number, from 0, and payload of each record.

    Raises:
        InputError: If the file cannot be read or a record is damaged; the message
            names the file and the record.
    """
    number = 0
    try:
        with path.open("rb") as file:
            while (
                payload := _next_payload(file, f"{path}, record {number}", remedy)
            ) is not None:
                yield number, payload
                number += 1
    except OSError as error:
        raise InputError(
            f"{path} cannot be read at record {number}: {error.strerror}"
        ) from None


def _next_payload(file: BinaryIO, record_name: str, remedy: str) -> bytes | None:
    """Read the next payload; return `None` at the end of the file."""
    header = file.read(HEADER_BYTES)
    if not header:
        return None
    if len(header) < HEADER_BYTES:
        raise _damage(
            record_name,
            f"the file ends after {len(header)} bytes of its header",
            remedy,
        )
    (num_bytes,) = struct.unpack_from("<Q", header)
    if header != record_header(num_bytes):
        raise _damage(record_name, "the checksum of its length does not match", remedy)
    if num_bytes > MAX_PAYLOAD_BYTES:
        raise _damage(record_name, f"its length is {num_bytes:,} bytes", remedy)
    body = file.read(num_bytes + FOOTER_BYTES)
    if len(body) < num_bytes + FOOTER_BYTES:
        raise _damage(
            record_name,
            f"the file ends after {len(body):,} of its {num_bytes + FOOTER_BYTES:,} "
            "bytes",
            remedy,
        )
    payload = body[:num_bytes]
    if body[num_bytes:] != record_footer(payload):
        raise _damage(
            record_name, "the checksum of its contents does not match", remedy
        )
    return payload


def _damage(record_name: str, problem: str, remedy: str) -> InputError:
    return InputError(f"{record_name}: {problem}, expected a whole record: {remedy}")
