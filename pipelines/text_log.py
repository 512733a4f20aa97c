"""Logs in CSV and TSV, plain or gzip, with quoted separators, quotes and newlines."""

import csv
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NoReturn, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from pipelines.columns import Columns
from pipelines.logs import BadLogRow, LogFile
from pipelines.reading import GZIP_MAGIC
from tfdlrm.errors import InputError

CHUNK_BYTES = 16 * 2**20


class TextLog(LogFile):
    """A CSV or TSV file; see `LogFile`."""

    def __init__(
        self,
        path: Path,
        columns: Columns,
        on_bad_row: Literal["stop", "skip"] = "stop",
        labelled: bool = True,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        super().__init__(path, columns, on_bad_row, labelled)
        self._chunk_bytes = chunk_bytes
        first_row = self._first_row()
        if columns.names is None:
            self._names = first_row
        else:
            self._names = self._names_there([*columns.names], len(first_row))
        self._check_names(self._names)

    def _names_there(self, names: list[str], width: int) -> list[str]:
        """Those of all `names` that a file has, which has no head line to tell."""
        if self.labelled or width == len(names):
            return names
        # Rows to score may come without what only training needs.
        label, days_by = self.columns.label, self.columns.days_by
        absent = [{label}]
        if days_by is not None:
            absent += [{days_by.name}, {label, days_by.name}]
        fitting = [each for each in absent if len(names) - len(each) == width]
        if len(fitting) > 1:
            either = " or ".join(repr(name) for each in fitting for name in each)
            raise InputError(
                f"{self.path} has {width} columns: either {either} of "
                f"{', '.join(names)} is missing, and nothing says which; leave out "
                "both or none"
            )
        missing = fitting[0] if fitting else set()
        return [name for name in names if name not in missing]

    def _first_row(self) -> list[str]:
        with self._opened() as (text, _):
            lines = io.TextIOWrapper(text, "utf-8-sig", errors="replace", newline="")
            rows = csv.reader(lines, delimiter=self.columns.separator)
            row = next((row for row in rows if row), None)
        if row is None:
            raise InputError(f"{self.path} is empty, expected rows of a log")
        return row

    def _chunks(self) -> Iterator[tuple[pl.DataFrame, np.ndarray, list[BadLogRow]]]:
        malformed: list[BadLogRow] = []
        next_row = 1 if self.columns.names else 2
        with self._opened() as (text, stored):
            ended = _WithLastNewline(text)
            blocks = self._blocks(ended, malformed)
            block = next(blocks, None)
            while block is not None:
                following = next(blocks, None)
                numbers = _numbers(next_row, block.num_rows, malformed)
                next_row = int(numbers[-1]) + 1 if len(numbers) else next_row
                if following is None and not ended.ends_in_closed_quote:
                    malformed += self._open_quote(block, numbers)
                # Arrow reads ahead: what it found further down waits for its turn.
                here = [r for r in malformed if following is None or r.line < next_row]
                del malformed[: len(here)]
                self.bytes_read = stored.tell()
                yield pl.DataFrame(block), numbers, here
                block = following
        if malformed:  # and not one row of the right width
            nothing = pl.DataFrame(schema=dict.fromkeys(self._sources, pl.Binary))
            yield nothing, np.arange(0), malformed

    def _blocks(
        self, text: "_WithLastNewline", malformed: list[BadLogRow]
    ) -> Iterator[Any]:
        """Arrow's record batches of bytes; rows of another width go to `malformed`."""

        def leave_out(row: Any) -> str:
            problem = (
                f"has {_count(row.actual_columns)}, expected {row.expected_columns} "
                f"separated by {self.columns.separator!r}"
            )
            kind = "wrong number of columns"
            malformed.append(BadLogRow(self.path, row.number, kind, problem))
            return "skip"

        # The last column is read in any case: a quote that stays open ends there.
        wanted = list(dict.fromkeys([*self._sources, self._names[-1]]))
        yield from pa_csv.open_csv(
            pa.PythonFile(text, mode="r"),
            pa_csv.ReadOptions(
                block_size=self._chunk_bytes,
                use_threads=False,  # otherwise rows have no number
                column_names=self._names if self.columns.names else None,
            ),
            pa_csv.ParseOptions(
                delimiter=self.columns.separator,
                newlines_in_values=True,
                invalid_row_handler=leave_out,
            ),
            pa_csv.ConvertOptions(
                include_columns=wanted,
                column_types=dict.fromkeys(wanted, pa.binary()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )

    def _open_quote(self, block: Any, numbers: np.ndarray) -> list[BadLogRow]:
        if not block.num_rows:
            return []
        last = block.column(self._names[-1])[-1].as_py() or b""
        if not last.endswith(b"\n"):
            return []
        problem = f"column {self._names[-1]!r} has a quote that is never closed"
        return [BadLogRow(self.path, int(numbers[-1]), "open quote", problem)]

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """The unzipped text and the stored file, errors turned into one line."""
        try:
            with self._reading(), self.path.open("rb") as stored:
                is_gzip = stored.read(len(GZIP_MAGIC)) == GZIP_MAGIC
                stored.seek(0)
                text = gzip.GzipFile(fileobj=stored) if is_gzip else stored
                yield cast(IO[bytes], text), stored
        except (csv.Error, pa.ArrowInvalid) as error:
            self._refuse_text(str(error))

    def _refuse_text(self, reason: str) -> NoReturn:
        what = " ".join(reason.split())
        if "straddling" in reason:
            what = f"it has a row of more than {self._chunk_bytes:,} bytes"
        raise InputError(
            f"{self.path} cannot be read as {self.columns.format}: {what}; expected "
            f"rows separated by {self.columns.separator!r}, quotes closed"
        ) from None


class _WithLastNewline(io.RawIOBase):
    """The same text, its last line ended if it is not.

    A quote that stays open then always leaves a newline at the end of its value; so
    does one that is closed at the beginning of a line, which the text's end tells.
    """

    def __init__(self, text: IO[bytes]) -> None:
        self._text = text
        self._is_ended = True
        # The last bytes, line ends and blank lines as one newline.
        self._end = b""

    @property
    def ends_in_closed_quote(self) -> bool:
        """Whether the last line that is not blank is a quote and nothing else."""
        return self._end.rstrip(b"\n").endswith(b'\n"')

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        piece = self._text.read(size)
        if piece:
            self._is_ended = piece.endswith(b"\n")
            written = piece.rstrip(b"\r\n")
            end = self._end + written[-2:]
            if len(written) < len(piece) and not end.endswith(b"\n"):
                end += b"\n"
            self._end = end[-3:]
        elif not self._is_ended:
            self._is_ended = True
            return b"\n"
        return piece


def _numbers(first: int, count: int, malformed: list[BadLogRow]) -> np.ndarray:
    """The numbers of `count` rows from `first` on, those of malformed ones left out."""
    candidates = np.arange(first, first + count + len(malformed))
    if malformed:
        left_out = [row.line for row in malformed]
        candidates = np.setdiff1d(candidates, left_out, assume_unique=True)
    return candidates[:count]


def _count(columns: int) -> str:
    return "1 column" if columns == 1 else f"{columns} columns"
