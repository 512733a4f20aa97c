"""Read the text of a raw file in whole lines, cut the same way each time."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pipelines.logs.damage import reading
from pipelines.logs.stored_text import BOM, is_compressed, open_text
from tfdlrm.base.errors import InputError

_EXPECTED = "a raw Criteo file"
_TAIL_BYTES = 2**16


class RawText:
    """The text of one file, read a chunk at a time.

    Args:
        path: Path of the file.
        chunk_bytes: Bytes of text in a chunk.

    Attributes:
        bytes_read: Number of bytes of the stored file that have been read.
        is_compressed: Whether the file's content is compressed.

    Raises:
        InputError: If the file cannot be read, or is no text in UTF-8.
    """

    def __init__(self, path: Path, chunk_bytes: int) -> None:
        self.path, self.chunk_bytes = path, chunk_bytes
        self.bytes_read = 0
        with reading(path, _EXPECTED), path.open("rb") as stored:
            self.is_compressed = is_compressed(stored.peek()[:16])
            open_text(stored, path)

    def first_bytes(self, size: int) -> bytes:
        """Return the first `size` bytes of text, or all of a shorter text."""
        return next(self._text(size), b"")

    def chunks(self) -> Iterator[bytes]:
        """Yield all lines in chunks, each of which ends with a newline."""
        return self._whole_lines(self._text(self.chunk_bytes), b"", is_last=True)

    def part(self, chunks: range) -> Iterator[bytes]:
        """Yield some chunks of a plain file, without reading those before them.

        Args:
            chunks: Numbers of the chunks in the file, from 0.
        """
        start = chunks.start * self.chunk_bytes
        is_last = chunks.stop * self.chunk_bytes >= self.path.stat().st_size
        pieces = zip(chunks, self._stored(self.chunk_bytes, start), strict=False)
        return self._whole_lines(
            (piece for _, piece in pieces), self._line_before(start), is_last
        )

    def _line_before(self, position: int) -> bytes:
        """Return the part of a line before `position`, which is in that line."""
        line = b""
        while position and b"\n" not in line:
            size = min(_TAIL_BYTES, position)
            position -= size
            line = next(self._stored(size, position), b"") + line
        return line.rpartition(b"\n")[2]

    def _whole_lines(
        self, pieces: Iterable[bytes], line_start: bytes, is_last: bool
    ) -> Iterator[bytes]:
        """Yield the lines that end in some pieces of text, with Unix' line ends."""
        for piece in pieces:
            end = piece.rfind(b"\n") + 1
            if end:
                # One copy, not two: no other thread runs while bytes are copied.
                lines = b"".join((line_start, memoryview(piece)[:end]))
                yield _unix_line_ends(lines)
                line_start = piece[end:]
            else:
                line_start += piece
                self._refuse_endless_line(line_start)
        if line_start and is_last:
            yield _unix_line_ends(line_start + b"\n")

    def _refuse_endless_line(self, line: bytes) -> None:
        if len(line) > 2 * self.chunk_bytes:
            raise InputError(
                f"{self.path} has a line of more than {len(line):,} bytes, expected "
                "short columns separated by tabs: is it a raw Criteo file?"
            )

    def _text(self, size: int) -> Iterator[bytes]:
        if not self.is_compressed:
            yield from self._stored(size)
            return
        with reading(self.path, _EXPECTED), self.path.open("rb") as stored:
            text = open_text(stored, self.path)
            while piece := text.read(size):
                self.bytes_read = stored.tell()
                yield piece

    def _stored(self, size: int, start: int = 0) -> Iterator[bytes]:
        with reading(self.path, _EXPECTED), self.path.open("rb") as stored:
            stored.seek(start)
            is_first = start == 0
            while piece := stored.read(size):
                self.bytes_read = stored.tell()
                yield piece.removeprefix(BOM) if is_first else piece
                is_first = False


def _unix_line_ends(lines: bytes) -> bytes:
    return lines.replace(b"\r\n", b"\n") if b"\r" in lines else lines
