"""The first stage: raw files parsed once and kept as typed columns on disk."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, count
from pathlib import Path
from typing import Protocol

import polars as pl
from polars import selectors

from pipelines.logs.bad_rows import SkippedRows
from pipelines.logs.checksums import FileChecksum, InputChangedError
from pipelines.stages.journal import Entry, Journal
from tfdlrm.base.checksums import file_crc32c
from tfdlrm.base.kept_files import KeptFile, keep
from tfdlrm.base.parallel import map_in_order
from tfdlrm.base.progress import stage
from tfdlrm.base.storage import whole

Transform = Callable[[pl.DataFrame], pl.DataFrame]


class LogSource(Protocol):
    """A raw file as typed data frames, cut the same way each time it is read.

    Attributes:
        path: The file.
        num_bytes: Its size as stored.
        bytes_read: How many of these have been read; the frames yielded so far depend
            on no others.
        position: Where `frames` goes on after the frame that it yielded last.
        skipped: The malformed rows that this call of `frames` left out so far.
    """

    path: Path
    num_bytes: int
    position: int
    skipped: SkippedRows

    @property
    def bytes_read(self) -> int: ...

    def frames(self, position: int = 0) -> Iterator[pl.DataFrame]:
        """The frames from `position` on."""
        ...


@dataclass(frozen=True)
class Spill:
    """Typed rows on disk.

    Args:
        pieces: Arrow files, in order of their rows.
        rows_per_piece: Number of rows of each.
        rows_per_file: Number of rows of each raw file.
        checksums: SHA-256 of each raw file.
        skipped: Malformed rows that were left out.
        files: What the pieces must be; empty if that is not known.
    """

    pieces: tuple[Path, ...]
    rows_per_piece: tuple[int, ...]
    rows_per_file: tuple[int, ...]
    checksums: tuple[str, ...]
    skipped: SkippedRows
    files: tuple[KeptFile, ...] = ()
    _checked: set[int] = field(
        default_factory=set, init=False, repr=False, compare=False
    )

    @cached_property
    def starts(self) -> list[int]:
        """Number of the first row of each piece, and at last of all rows."""
        return list(accumulate(self.rows_per_piece, initial=0))

    def read(self, number: int, names: Sequence[str] | None = None) -> pl.DataFrame:
        """Read a piece, or some of its columns, and check its bytes.

        Args:
            number: The piece.
            names: The columns. Pieces are checked at their first such read only, and
                at each read of all columns, which `names` left out asks for.

        Raises:
            DamagedFileError: If the piece is not what was written.
        """
        if self.files and (names is None or number not in self._checked):
            self.files[number].check()
            self._checked.add(number)
        return read_piece(self.pieces[number], names)


def spill_columns(
    files: Sequence[LogSource], work: Path, journal: Journal, transform: Transform
) -> Spill:
    """Parse each file once and keep its typed columns on disk, in order.

    Args:
        files: The raw files.
        work: Where the pieces go.
        journal: What an earlier run has finished.
        transform: What is done to each frame before it is written.

    Raises:
        InputError: If a file cannot be used, or changes meanwhile.
        InputChangedError: If what an earlier run has read of a file is not there now.
    """
    rows = sum(entry["rows"] for entry in journal.entries("piece"))
    bytes_before = 0
    with stage("read rows", sum(file.num_bytes for file in files)) as show:
        for number, file in enumerate(files):

            def advance(
                num_rows: int, file: LogSource = file, before: int = bytes_before
            ) -> None:
                nonlocal rows
                rows += num_rows
                show(before + file.bytes_read, rows)

            _FileSpill(number, file, work, journal).run(transform, advance)
            bytes_before += file.num_bytes
    pieces = journal.entries("piece")
    done = journal.entries("file")
    skipped = SkippedRows()
    for entry in done:
        skipped.update(SkippedRows.from_json(entry["skipped"]))
    return Spill(
        pieces=tuple(piece_path(work, number) for number in range(len(pieces))),
        rows_per_piece=tuple(entry["rows"] for entry in pieces),
        rows_per_file=tuple(entry["rows"] for entry in done),
        checksums=tuple(entry["sha256"] for entry in done),
        skipped=skipped,
        files=tuple(file for each in pieces for file in journal.files_of(each)),
    )


def piece_path(work: Path, number: int) -> Path:
    """Where a piece of the rows is kept."""
    return work / f"{number:06d}.arrow"


def write_piece(frame: pl.DataFrame, path: Path) -> KeptFile:
    """Write typed rows aside and rename them: under its name a piece is whole."""
    with whole(path) as aside:
        frame.write_ipc(aside)
        crc32c = file_crc32c(aside)
    return KeptFile(path, path.stat().st_size, crc32c)


def read_piece(path: Path, names: Sequence[str] | None = None) -> pl.DataFrame:
    """Read the columns of a piece, or some of them.

    Args:
        path: The piece; `[`, `?` and `*` in it are themselves, as in names.
        names: The columns; all by default.
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
    """One file of the stage, from where an earlier run was stopped."""

    def __init__(
        self, number: int, file: LogSource, work: Path, journal: Journal
    ) -> None:
        self._number, self._file = number, file
        self._work, self._journal = work, journal
        last = journal.last("piece")
        self._last = last if last and last["file"] == number else None
        self._before = SkippedRows()
        if self._last:
            self._before = SkippedRows.from_json(self._last["skipped"])
        self._rows = self._last["rows_of_file"] if self._last else 0

    def run(self, transform: Transform, advance: Callable[[int], None]) -> None:
        """Spill what is left of the file; tells `advance` the rows of each piece."""
        with FileChecksum(self._file.path) as checksum:
            done = self._journal.entries("file")[self._number :]
            if done:
                _expect(checksum.whole(), done[0]["sha256"], self._file.path)
                return
            position = 0
            if self._last:
                digest = checksum.up_to(self._last["bytes"])
                _expect(digest, self._last["sha256"], self._file.path)
                position = self._last["position"]
            with ThreadPoolExecutor(max_workers=1) as thread:

                def write(piece: _Piece) -> Entry:
                    digest = thread.submit(checksum.up_to, piece.entry["bytes"])
                    transform(piece.frame).write_ipc(piece.path)
                    files = self._journal.note([keep(piece.path)])
                    return {**piece.entry, "sha256": digest.result(), "files": files}

                # A thread writes, since this one has to keep those that parse busy.
                for entry in map_in_order(write, self._pieces(position), workers=1):
                    self._journal.add("piece", entry)
                    advance(entry["rows"])
            self._note_file(checksum.whole())

    def _pieces(self, position: int) -> Iterator[_Piece]:
        """What is left of the file, with what the journal is to say of each piece."""
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
        both = SkippedRows()
        both.update(self._before)
        both.update(self._file.skipped)
        return both


def _expect(digest: str, expected: str, path: Path) -> None:
    if digest != expected:
        raise InputChangedError(path)
