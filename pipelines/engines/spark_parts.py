"""A part of a raw file, as one Spark task reads it."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.logs.bad_rows import BadRowError
from pipelines.logs.checksums import file_checksum
from pipelines.logs.columns import Columns
from pipelines.logs.criteo_file import RawFile
from pipelines.logs.damage import reading
from pipelines.logs.opening import RawSource, open_raw
from pipelines.stages.spill import write_piece
from tfdlrm.base.errors import InputError
from tfdlrm.base.kept_files import KeptFile, read_note, write_note
from tfdlrm.config import PrepareConfig

_READ_BYTES = 2**20


@dataclass(frozen=True)
class Part:
    """What one task reads.

    Args:
        file: Number of the raw file.
        path: The file.
        chunks: The chunks of it; `None` for the whole file.
        chunk_bytes: Bytes of text in a chunk.
    """

    file: int
    path: Path
    chunks: range | None
    chunk_bytes: int

    def checksum(self) -> str:
        """The SHA-256 of the part as it is stored."""
        if self.chunks is None:
            return file_checksum(self.path)
        digest = hashlib.sha256()
        left = len(self.chunks) * self.chunk_bytes
        with reading(self.path), self.path.open("rb") as file:
            file.seek(self.chunks.start * self.chunk_bytes)
            while piece := file.read(min(_READ_BYTES, left)):
                digest.update(piece)
                left -= len(piece)
        return digest.hexdigest()


@dataclass(frozen=True)
class PartRead:
    """What became of a part.

    Args:
        rows: Number of rows of each piece.
        num_lines: Lines that it had.
        skipped: Malformed rows left out, lines counted from the part's first one.
        checksum: SHA-256 of the part.
        bad_row: The row that stopped the work.
        refusal: What else stopped it, in a line.
        has_changed: Whether an earlier run has read something else.
        pieces: Name, bytes and CRC32C of the file of each piece.
        lost: What was damaged or missing of what an earlier run has read of it.
    """

    rows: tuple[int, ...] = ()
    num_lines: int = 0
    skipped: dict[str, Any] | None = None
    checksum: str = ""
    bad_row: dict[str, Any] | None = None
    refusal: str | None = None
    has_changed: bool = False
    pieces: tuple[tuple[str, int, int], ...] = ()
    lost: str | None = None

    @property
    def is_refused(self) -> bool:
        """Whether something in the part stops the work."""
        return self.bad_row is not None or self.refusal is not None

    def files(self, work: Path) -> list[KeptFile]:
        """Return the files of the pieces, which are in `work`."""
        return [KeptFile(work / name, size, crc) for name, size, crc in self.pieces]


def read_part(
    part: Part, number: int, columns: Columns, work: Path, config: PrepareConfig
) -> PartRead:
    """Parse a part and keep its typed rows on disk, unless an earlier run has.

    Args:
        part: The part.
        number: Its number among all.
        columns: What its columns are.
        work: Where its pieces go, and a note that they are whole.
        config: What to do with a malformed row.
    """
    noted = work / f"{number:06d}.json"
    lost = None
    try:
        checksum = part.checksum()
        if noted.exists():
            read = _read_before(noted)
            if read.checksum and read.checksum != checksum:
                return replace(read, has_changed=True)
            if read.lost is None:
                return read
            lost = read.lost
        file = _file(part, columns, config)
        frames = _frames(file, part)
        rows, files = [], []
        for index, frame in enumerate(frames):
            path = piece_path(work, number, index)
            files.append(write_piece(columns.transformed(frame), path))
            rows.append(frame.height)
    except BadRowError as error:
        row = {**asdict(error.row), "path": str(error.row.path)}
        return PartRead(bad_row=row)
    except InputError as error:
        return PartRead(refusal=str(error))
    num_lines = file.num_lines if isinstance(file, RawFile) else 0
    pieces = tuple((each.path.name, each.num_bytes, each.crc32c) for each in files)
    skipped = file.skipped.to_json()
    read = PartRead(tuple(rows), num_lines, skipped, checksum, pieces=pieces)
    write_note(noted, asdict(read))
    return replace(read, lost=lost)


def _read_before(noted: Path) -> PartRead:
    """What an earlier run has read of a part, and what is lost of that."""
    before = read_note(noted)
    if before is None:
        return PartRead(lost=f"{noted} is damaged")
    read = PartRead(**{**before, "rows": tuple(before["rows"])})
    for file in read.files(noted.parent):
        if problem := file.problem():
            return replace(read, lost=f"{file.path} {problem}")
    return read


def _file(part: Part, columns: Columns, config: PrepareConfig) -> RawSource:
    if part.chunks is None:
        return open_raw(part.path, columns, config.on_bad_row)
    return RawFile(part.path, config.on_bad_row, part.chunk_bytes)


def _frames(file: RawSource, part: Part) -> Iterator[pl.DataFrame]:
    if part.chunks is None or not isinstance(file, RawFile):
        return file.frames()
    return file.part(part.chunks)


def piece_path(work: Path, part: int, index: int) -> Path:
    """Where a piece of a part is kept."""
    return work / f"{part:06d}-{index:06d}.arrow"
