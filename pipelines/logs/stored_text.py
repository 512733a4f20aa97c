"""Open the text of a stored file: plain, gzip or zstd, as its first bytes tell."""

import gzip
import io
import re
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from pipelines.logs.damage import DamagedZstdError
from tfdlrm.base.errors import InputError

GZIP = b"\x1f\x8b"
ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
BOM = b"\xef\xbb\xbf"

_COMPRESSIONS = (
    (rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)", "bzip2", "bunzip2"),
    (rb"\xfd7zXZ\0", "xz", "unxz"),
    (rb"\x5d\0\0", "lzma", "unlzma"),
    (rb"PK\x03\x04|PK\x05\x06", "zip", "unzip"),
    (rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18", "lz4", "unlz4"),
    (rb"\xff\x06\0\0sNaPpY", "snappy", "snzip -d"),
    (rb"\x1f\x9d", "compress (.Z)", "uncompress"),
    (rb"\x89LZO\0", "lzop", "lzop -d"),
    (rb"7z\xbc\xaf\x27\x1c", "7-Zip", "7z x"),
    (rb"LZIP\x01", "lzip", "lzip -d"),
)
_SAY_PARQUET = (
    "say `format: parquet`, or for a model that was trained on text write its rows as "
    "text"
)
_TABLES = (
    (rb"PAR1[\0-\x08\x0e-\x1f]", "a Parquet file", _SAY_PARQUET),
    (rb"ORC[\0-\x08\x0e-\x1f]", "an ORC file", "write it as Parquet or text"),
    (rb"Obj\x01", "an Avro file", "write it as Parquet or text"),
    (rb"ARROW1\0", "an Arrow file", "write it as Parquet or text"),
    (rb"(?s).{257}ustar", "a tar archive", "unpack it"),
)
_WIDE = (
    (re.compile(rb"\xff\xfe\x00\x00|\x00\x00\xfe\xff"), "UTF-32"),
    (re.compile(rb"\xff\xfe|\xfe\xff|(?:[^\0]\0){4}|(?:\0[^\0]){4}"), "UTF-16"),
)
_HEAD_BYTES = 512


def is_compressed(head: bytes) -> bool:
    """Return whether a file that begins with `head` is gzip or zstd."""
    return head.startswith(GZIP) or bool(ZSTD.match(head))


def open_text(stored: BinaryIO, path: Path) -> BinaryIO:
    """Open the text of a file after its byte order mark; decompress it while reading.

    Args:
        stored: The open file, at its start.
        path: Path of the file, for messages.

    Raises:
        InputError: If the file is compressed in another way, or is no text in UTF-8.
    """
    head = _peek(stored)
    if head.startswith(GZIP):
        text = cast(BinaryIO, gzip.GzipFile(fileobj=stored))
    elif ZSTD.match(head):
        text = cast(BinaryIO, io.BufferedReader(_Zstd(stored), 2**20))
    else:
        text = stored
    if text is not stored:
        head = _peek(text)
        if is_compressed(head):
            raise InputError(
                f"{path} is compressed twice, expected text compressed once: unpack it"
            )
    _refuse_other(head, path)
    if head.startswith(BOM):
        text.read(len(BOM))
    return text


def _peek(file: BinaryIO) -> bytes:
    peek = getattr(file, "peek")  # noqa: B009 - readers have it, their type does not
    return bytes(peek(_HEAD_BYTES)[:_HEAD_BYTES])


def _refuse_other(head: bytes, path: Path) -> None:
    for magic, name, command in _COMPRESSIONS:
        if re.match(magic, head):
            raise InputError(
                f"{path} is compressed by {name}, expected plain text, gzip or zstd: "
                f"unpack it, such as by {command}"
            )
    for magic, name, hint in _TABLES:
        if re.match(magic, head):
            raise InputError(f"{path} is {name}, expected text: {hint}")
    for pattern, name in _WIDE:
        if pattern.match(head):
            raise InputError(
                f"{path} is text in {name}, expected UTF-8: convert it, such as by "
                f"iconv -f {name} -t UTF-8"
            )


class _Zstd(io.RawIOBase):
    """The text of consecutive zstd frames, decompressed."""

    def __init__(self, stored: BinaryIO) -> None:
        self._text = pa.CompressedInputStream(pa.PythonFile(stored, mode="r"), "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        try:
            text = self._text.read(len(buffer))
        except OSError as error:
            if error.errno is None:  # an error of Arrow's own
                raise DamagedZstdError(str(error)) from None
            raise
        buffer[: len(text)] = text
        return len(text)
