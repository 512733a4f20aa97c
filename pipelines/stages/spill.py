"""The first stage: parse raw files once and keep their typed columns on disk."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, count
from pathlib import Path
from typing import Protocol

import polars as pl
from polars import selectors

from pipelines.ids.number_values import NumberValues
from pipelines.logs.bad_rows import SkippedRows
from pipelines.logs.checksums import FileChecksum, InputChangedError
from pipelines.stages.journal import Entry, Journal
from tfdlrm.base.checksums import file_crc32c
from tfdlrm.base.kept_files import KeptFile, keep
from tfdlrm.base.parallel import map_in_order
from tfdlrm.base.progress import stage
from tfdlrm.base.storage import whole
from tfdlrm.data.number_features import NumberFeature

Transform = Callable[[pl.DataFrame], pl.DataFrame]


class LogSource(Protocol):
    """A raw file as typed data frames, cut in the same way each time it is read.

    Attributes:
        path: The file.
        num_bytes: Its size as stored.
        bytes_read: Number of bytes read; the frames yielded so far depend on no others.
        position: The position from which `frames` continues after the frame that it
            yielded last.
        skipped: The malformed rows that this call of `frames` has left out so far.
    """

    path: Path
    num_bytes: int
    position: int
    skipped: SkippedRows

    @property
    def bytes_read(self) -> int: ...

    def frames(self, position: int = 0) -> Iterator[pl.DataFrame]:
        """Yield the frames from `position` on."""
        ...


@dataclass(frozen=True)
class Spill:
    """Typed rows on disk.

    Args:
        pieces: Arrow files, in order of their rows.
        rows_per_piece: Number of rows of each piece.
        rows_per_file: Number of rows of each raw file.
        checksums: SHA-256 of each raw file.
        skipped: Malformed rows that were left out.
        files: Size and checksum of each piece; empty if not known.
        numbers: Computes features from numbers of the pieces as they are read.
    """

    pieces: tuple[Path, ...]
    rows_per_piece: tuple[int, ...]
    rows_per_file: tuple[int, ...]
    checksums: tuple[str, ...]
    skipped: SkippedRows
    files: tuple[KeptFile, ...] = ()
    numbers: NumberValues | None = None
    _checked: set[int] = field(
        default_factory=set, init=False, repr=False, compare=False
    )

    @cached_property
    def starts(self) -> list[int]:
        """Number of the first row of each piece, then the number of all rows."""
        return list(accumulate(self.rows_per_piece, initial=0))

    @property
    def transforms(self) -> dict[str, NumberFeature]:
        """The features that are computed from numbers, for the schema."""
        return dict(self.numbers.features) if self.numbers else {}

    def read(self, number: int, names: Sequence[str] | None = None) -> pl.DataFrame:
        """Read a piece, or some of its columns, and check its bytes.

        Args:
            number: Number of the piece.
            names: The columns; all by default. A read of all columns always checks the
                piece, a read of some columns only the first time.

        Raises:
            DamagedFileError: If the piece is not what was written.
        """
        if self.files and (names is None or number not in self._checked):
            self.files[number].check()
            self._checked.add(number)
        if self.numbers is None:
            return read_piece(self.pieces[number], names)
        columns = None if names is None else self.numbers.columns_to_read(names)
        return self.numbers.add_to(read_piece(self.pieces[number], columns), names)


def spill_columns(
    files: Sequence[LogSource], work: Path, journal: Journal, transform: Transform
) -> Spill:
    """Parse each file once and keep its typed columns on disk, in order.

    Args:
        files: The raw files.
        work: Directory for the pieces.
        journal: The finished steps, also of an earlier run.
        transform: Applied to each frame before it is written.

    Raises:
        InputError: If a file cannot be used, or changes while it is read.
        InputChangedError: If a file has changed since an earlier run read it.
    """
    rows = sum(entry["rows"] for entry in journal.entries("piece"))
    bytes_before = 0
    with stage("read rows", sum(file.num_bytes for file in files)) as show:
        for number, file in enumerate(files):

            def advance(
                num_rows: int, file: LogSource = file, earlier_bytes: int = bytes_before
            ) -> None:
                nonlocal rows
                rows += num_rows
                show(earlier_bytes + file.bytes_read, rows)

            _FileSpill(number, file, work, journal).run(transform, advance)
            bytes_before += file.num_bytes
    pieces = journal.entries("piece")
    file_entries = journal.entries("file")
    skipped = SkippedRows()
    for entry in file_entries:
        skipped.update(SkippedRows.from_json(entry["skipped"]))
    return Spill(
        pieces=tuple(piece_path(work, number) for number in range(len(pieces))),
        rows_per_piece=tuple(entry["rows"] for entry in pieces),
        rows_per_file=tuple(entry["rows"] for entry in file_entries),
        checksums=tuple(entry["sha256"] for entry in file_entries),
        skipped=skipped,
        files=tuple(file for entry in pieces for file in journal.files_of(entry)),
    )


def piece_path(work: Path, number: int) -> Path:
    """Return the path of a piece."""
    return work / f"{number:06d}.arrow"


def write_piece(frame: pl.DataFrame, path: Path) -> KeptFile:
    """Write typed rows to a temporary file and rename it when it is complete."""
    with whole(path) as temporary:
        frame.write_ipc(temporary)
        crc32c = file_crc32c(temporary)
    return KeptFile(path, path.stat().st_size, crc32c)


def read_piece(path: Path, names: Sequence[str] | None = None) -> pl.DataFrame:
    """Read the columns of a piece, or some of them.

    Args:
        path: The piece; `[`, `?` and `*` in its path stand for themselves.
        names: The columns, with the same characters as they are; all by default.
    """
    piece = pl.scan_ipc(path, glob=False)
    if names is not None:
        piece = piece.select(selectors.by_name(*names))
    return piece.collect()


@dataclass(frozen=True)
class _Piece:
    path: Path
    frame: pl.DataFrame
    entry: Entry


class _FileSpill:
    """Spills one file, from the piece at which an earlier run was stopped."""

    def __init__(
        self, number: int, file: LogSource, work: Path, journal: Journal
    ) -> None:
        self._number, self._file = number, file
        self._work, self._journal = work, journal
        last_entry = journal.last("piece")
        self._last_entry = (
            last_entry if last_entry and last_entry["file"] == number else None
        )
        self._skipped_before = SkippedRows()
        if self._last_entry:
            self._skipped_before = SkippedRows.from_json(self._last_entry["skipped"])
        self._rows = self._last_entry["rows_of_file"] if self._last_entry else 0

    def run(self, transform: Transform, advance: Callable[[int], None]) -> None:
        """Spill the remaining rows; call `advance` with the rows of each piece."""
        with FileChecksum(self._file.path) as checksum:
            file_entries = self._journal.entries("file")[self._number :]
            if file_entries:
                _expect(checksum.whole(), file_entries[0]["sha256"], self._file.path)
                return
            position = 0
            if self._last_entry:
                digest = checksum.up_to(self._last_entry["bytes"])
                _expect(digest, self._last_entry["sha256"], self._file.path)
                position = self._last_entry["position"]
            with ThreadPoolExecutor(max_workers=1) as thread:

                def write(piece: _Piece) -> Entry:
                    digest = thread.submit(checksum.up_to, piece.entry["bytes"])
                    transform(piece.frame).write_ipc(piece.path)
                    files = self._journal.note([keep(piece.path)])
                    return {**piece.entry, "sha256": digest.result(), "files": files}

                # A thread writes, while this one keeps the parsing threads busy.
                for entry in map_in_order(write, self._pieces(position), workers=1):
                    self._journal.add("piece", entry)
                    advance(entry["rows"])
            self._note_file(checksum.whole())

    def _pieces(self, position: int) -> Iterator[_Piece]:
        """Yield the remaining pieces of the file, with the journal entry of each."""
        numbers = count(self._journal.count("piece"))
        for number, frame in zip(numbers, self._file.frames(position), strict=False):
            self._rows += frame.height
            entry = {
                "file": self._number,
                "rows": frame.height,
                "rows_of_file": self._rows,
                "position": self._file.position,
                "bytes": self._file.bytes_read,
                "skipped": self._skipped().to_json(),
            }
            yield _Piece(piece_path(self._work, number), frame, entry)

    def _note_file(self, digest: str) -> None:
        skipped = self._skipped().to_json()
        entry = {"rows": self._rows, "sha256": digest, "skipped": skipped}
        self._journal.add("file", entry)

    def _skipped(self) -> SkippedRows:
        skipped = SkippedRows()
        skipped.update(self._skipped_before)
        skipped.update(self._file.skipped)
        return skipped


def _expect(digest: str, expected: str, path: Path) -> None:
    if digest != expected:
        raise InputChangedError(path)
