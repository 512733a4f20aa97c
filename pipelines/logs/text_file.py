"""A CSV or TSV file as pieces of text and whole rows; errors name the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

import pyarrow as pa

from pipelines.logs.columns import Columns
from pipelines.logs.damage import reading
from pipelines.logs.log_file import BadLogRow
from pipelines.logs.stored_text import open_text
from pipelines.logs.text_faults import UNDESCRIBED
from pipelines.logs.text_rows import MalformedRow, Rows, RowTooLongError, whole_rows
from pipelines.logs.text_style import TextStyle
from tfdlrm.base.errors import InputError

_HINT = (
    "expected quotes as in RFC 4180: a value that begins with a quote ends with one, "
    "and quotes in it are doubled; if they are part of values, or escaped, say so by "
    "`quote: none` or `escape` in the description of the columns"
)
_UNDESCRIBED_HINT = (
    "and nothing says what that means: give --columns, the description of the columns "
    "that the model's data set was prepared with"
)


class TextFile:
    """The text of a file, in whole rows.

    Args:
        path: Path of the file.
        columns: The columns of the log.
        chunk_bytes: Bytes of text in a piece; a row may have no more.
    """

    def __init__(self, path: Path, columns: Columns, chunk_bytes: int) -> None:
        self.path, self.columns, self.chunk_bytes = path, columns, chunk_bytes

    @contextmanager
    def open(self) -> Iterator[tuple[BinaryIO, BinaryIO]]:
        """Open the unpacked text and the stored file; errors become one line."""
        expected = f"a {self.columns.format} file"
        try:
            with reading(self.path, expected), self.path.open("rb") as stored:
                yield open_text(stored, self.path), stored
        except pa.ArrowInvalid as error:
            self._refuse(" ".join(str(error).split()))

    def pieces(self, text: BinaryIO, beginning: bytes = b"") -> Iterator[bytes]:
        """Yield `beginning`, which was read of the text before, and the rest of it."""
        if beginning:
            yield beginning
        while piece := text.read(self.chunk_bytes):
            yield piece

    def rows(
        self, pieces: Iterator[bytes], style: TextStyle, blank_is_row: bool
    ) -> Iterator[Rows]:
        """Yield the whole rows of a text that comes in pieces."""
        try:
            yield from whole_rows(pieces, style, self.chunk_bytes, blank_is_row)
        except RowTooLongError:
            self._refuse(f"it has a row of more than {self.chunk_bytes:,} bytes")

    def bad_row(self, number: int, row: MalformedRow, names: list[str]) -> BadLogRow:
        """Return a malformed row with what messages say of it."""
        name = repr(names[row.column]) if row.column < len(names) else row.column + 1
        problem = f"column {name} {row.problem}"
        if "quote" in row.kind:
            problem += f"; {_HINT}"
        if row.kind == UNDESCRIBED:
            problem += f", {_UNDESCRIBED_HINT}"
        return BadLogRow(self.path, number, row.kind, problem)

    def row_of_wrong_width(
        self, number: int, width: int, expected_width: int
    ) -> BadLogRow:
        """Return a row that has another number of columns than expected."""
        columns = "1 column" if width == 1 else f"{width} columns"
        problem = (
            f"has {columns}, expected {expected_width} separated by "
            f"{self.columns.separator!r}"
        )
        return BadLogRow(self.path, number, "wrong number of columns", problem)

    def _refuse(self, problem: str) -> NoReturn:
        raise InputError(
            f"{self.path} cannot be read as {self.columns.format}: {problem}; expected "
            f"rows separated by {self.columns.separator!r}"
        ) from None
