"""Read raw Criteo files as typed data frames, a bounded number of rows at a time."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal, NoReturn

import polars as pl

from pipelines.logs import criteo
from pipelines.logs.bad_rows import (
    BadRow,
    BadRowError,
    EmptyLogError,
    LineChecker,
    SkippedRows,
)
from pipelines.logs.criteo_text import RawText
from pipelines.logs.kept_columns import check_kept, kept_name
from pipelines.logs.own_log import advice, parquet_advice
from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.base.parallel import map_in_order, read_ahead

CHUNK_BYTES = 16 * 2**20
"""Larger chunks are slower: the allocator then fetches new pages for each of them."""

_PEEK_BYTES = 2**16
_PEEK_LINES = 100
_PARQUET = b"PAR1"
_FIELD_BYTES = b"0123456789abcdefABCDEF-"


class RawFile:
    """A raw Criteo file, plain, gzip or zstd, with or without labels.

    Iterating reads it once from the start, in chunks of whole lines. Whether rows
    begin with a label is decided by the number of columns of the first lines: 40 with
    a label, 39 without.

    Args:
        path: Path of the file.
        on_bad_row: The effect of a malformed line: `stop` raises an error that names
            it, `skip` leaves it out and counts it in `skipped`.
        chunk_bytes: Bytes of text in a chunk.
        kept: Names of columns whose text to pass on under their `kept_name`.

    Attributes:
        labelled: Whether rows have a label.
        num_bytes: Size of the file as stored.
        num_lines: Number of lines read so far.
        position: The position from which `frames` continues after its latest frame.
        skipped: The lines that `skip` has left out so far.

    Yields:
        Data frames with the columns of `criteo.column_names(labelled)`: the label as
        UInt8, dense columns as Int64 and categories as UInt32, null where empty.

    Raises:
        EmptyLogError: If the file is empty.
        InputError: If the file is missing, unreadable, truncated or, under `stop`, has
            a malformed line; and if it has no valid line at all.
    """

    def __init__(
        self,
        path: Path,
        on_bad_row: Literal["stop", "skip"] = "stop",
        chunk_bytes: int = CHUNK_BYTES,
        kept: Sequence[str] = (),
    ) -> None:
        self.path = storage.at(path)
        self.position = self.num_lines = 0
        self.skipped = SkippedRows()
        self._on_bad_row = on_bad_row
        self._refuse_parquet()
        self._text = RawText(self.path, chunk_bytes)
        first_bytes = self._text.first_bytes(_PEEK_BYTES)
        if not first_bytes:
            raise EmptyLogError(f"{path} is empty, expected rows of a Criteo click log")
        self._first_lines = first_bytes.replace(b"\r\n", b"\n").split(b"\n")[
            :_PEEK_LINES
        ]
        self.num_bytes = self.path.stat().st_size
        self.labelled = _has_label(self._first_lines)
        self._columns = criteo.column_names(self.labelled)
        self._kept = tuple(kept)
        check_kept(self._kept, self._columns, self.path)
        self._checker = LineChecker(self.path, self._columns)

    @property
    def bytes_read(self) -> int:
        """Number of bytes of the stored file that have been read."""
        return self._text.bytes_read

    @property
    def chunk_bytes(self) -> int:
        """Bytes of text in a chunk."""
        return self._text.chunk_bytes

    @property
    def num_chunks(self) -> int | None:
        """Number of chunks that `part` can read; `None` for a compressed file."""
        if self._text.is_compressed:
            return None
        return -(-self.num_bytes // self._text.chunk_bytes)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return self.frames()

    def frames(self, position: int = 0) -> Iterator[pl.DataFrame]:
        """Yield the frames from `position` on, an earlier value of the attribute."""
        chunks = read_ahead(self._text.chunks())
        self._begin(sum(chunk.count(b"\n") for chunk in islice(chunks, position)))
        self.position, found_rows = position, position > 0
        for chunk, frame in map_in_order(self._with_frame, chunks):
            self.position += 1
            frame = self._check(chunk, frame)
            if frame.height:
                found_rows = True
                yield frame
        if not found_rows:
            self.refuse_all_rows(next(iter(self.skipped.examples.values())))

    def part(self, chunks: range) -> Iterator[pl.DataFrame]:
        """Yield the frames of some chunks of a plain file, in this thread alone.

        They are the same frames as those of `frames`. Lines are counted from the first
        line of the first chunk.

        Args:
            chunks: Numbers of the chunks, below `num_chunks`.
        """
        self._begin(0)
        for chunk in self._text.part(chunks):
            frame = self._check(chunk, self._parse(chunk))
            if frame.height:
                yield frame

    def _begin(self, num_lines: int) -> None:
        self.skipped, self.num_lines = SkippedRows(), num_lines

    def refuse_all_rows(self, example: BadRow) -> NoReturn:
        """Raise the error of a file without a well-formed row; `example` is one row."""
        raise InputError(
            f"{self.path} has no well-formed row; {example}; "
            f"{advice(self._first_lines)}"
        )

    def _with_frame(self, chunk: bytes) -> tuple[bytes, pl.DataFrame | None]:
        return chunk, self._parse(chunk)

    def _check(self, chunk: bytes, frame: pl.DataFrame | None) -> pl.DataFrame:
        """Return the rows of the next chunk, without its malformed lines if any."""
        if frame is None:
            frame = self._parse_carefully(chunk, first_line=self.num_lines + 1)
        self.num_lines += chunk.count(b"\n")
        return frame

    def _parse(self, chunk: bytes) -> pl.DataFrame | None:
        """Return the rows of `chunk`, or `None` if any of them is malformed."""
        num_lines = chunk.count(b"\n")
        # Without the bytes that fields may hold, only separators are left.
        separators = chunk.translate(None, _FIELD_BYTES)
        row_separators = b"\t" * (len(self._columns) - 1) + b"\n"
        if (
            len(separators) != len(row_separators) * num_lines
            or separators != row_separators * num_lines
        ):
            return None
        try:
            raw = pl.read_csv(
                chunk,
                separator="\t",
                has_header=False,
                quote_char=None,
                schema=criteo.raw_schema(self.labelled),
            )
        except pl.exceptions.ComputeError:
            return None
        values = [
            criteo.categorical_value(name) for name in criteo.CATEGORICAL_FEATURES
        ]
        if self.labelled:
            values.append(criteo.label_value())
        frame = raw.with_columns(values)
        # A field that is not a number has become null; an empty one was null before.
        malformed = frame.height != num_lines or (
            frame.null_count().row(0) != raw.null_count().row(0)
            or (self.labelled and frame[criteo.LABEL].null_count() > 0)
        )
        if malformed:
            return None
        return frame.hstack(self._keep(chunk)) if self._kept else frame

    def _keep(self, chunk: bytes) -> list[pl.Series]:
        """Return the text of the columns to pass on."""
        text = pl.read_csv(
            chunk,
            separator="\t",
            has_header=False,
            quote_char=None,
            schema=dict.fromkeys(self._columns, pl.String),
        )
        return [text[name].alias(kept_name(name)) for name in self._kept]

    def _parse_carefully(self, chunk: bytes, first_line: int) -> pl.DataFrame:
        """Return the well-formed rows of `chunk`; raise or count malformed ones."""
        good_lines = []
        for number, line in enumerate(chunk[:-1].split(b"\n"), start=first_line):
            bad_row = self._checker.check(line, number)
            if bad_row is None:
                good_lines.append(line)
            else:
                self._refuse(bad_row)
        if not good_lines:
            return pl.DataFrame()
        frame = self._parse(b"\n".join([*good_lines, b""]))
        if frame is None:
            raise RuntimeError(f"{self.path}: the line checker passes what is refused")
        return frame

    def _refuse(self, bad_row: BadRow) -> None:
        if self._on_bad_row == "stop":
            self._refuse_other_format(bad_row)
            raise BadRowError(bad_row)
        self.skipped.add(bad_row)

    def _refuse_other_format(self, bad_row: BadRow) -> None:
        """Refuse a file of another format: most of its first lines are malformed."""
        lines = self._first_lines[:-1]  # the last one may be cut off
        num_bad = sum(self._checker.check(line, 1) is not None for line in lines)
        is_other = num_bad == len(lines) == 1 and not _has_width(lines[0])
        if is_other or (num_bad > 1 and 2 * num_bad > len(lines)):
            raise InputError(
                f"{bad_row}; {num_bad} of its first {len(lines)} lines are malformed, "
                f"so it is no log of Criteo's: {advice(lines)}"
            )

    def _refuse_parquet(self) -> None:
        try:
            with self.path.open("rb") as file:
                is_parquet = file.read(len(_PARQUET)) == _PARQUET
        except OSError:  # reported where the file is read
            return
        if is_parquet:
            raise InputError(
                f"{self.path} is a Parquet file, so it is no log of Criteo's: "
                f"{parquet_advice(self.path)}"
            )


def _has_width(line: bytes) -> bool:
    """Whether a line has as many columns as Criteo's, with a label or without."""
    width = line.count(b"\t") + 1
    return width in (len(criteo.column_names(has)) for has in (False, True))


def _has_label(first_lines: list[bytes]) -> bool:
    # Look at several lines, so that a malformed first line does not decide alone.
    widths = Counter(line.count(b"\t") + 1 for line in first_lines)
    unlabelled, labelled = (
        len(criteo.column_names(has_label)) for has_label in (False, True)
    )
    return widths[labelled] >= widths[unlabelled]
