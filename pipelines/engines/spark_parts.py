"""A part of a raw file, which one Spark task reads."""

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
    """The part of a raw file that one task reads.

    Args:
        file: Number of the raw file.
        path: The file.
        chunks: Its chunks; `None` for the whole file.
        chunk_bytes: Bytes of text in a chunk.
    """

    file: int
    path: Path
    chunks: range | None
    chunk_bytes: int

    def checksum(self) -> str:
        """Return the SHA-256 of the part as it is stored."""
        if self.chunks is None:
            return file_checksum(self.path)
        digest = hashlib.sha256()
        bytes_left = len(self.chunks) * self.chunk_bytes
        with reading(self.path), self.path.open("rb") as file:
            file.seek(self.chunks.start * self.chunk_bytes)
            while contents := file.read(min(_READ_BYTES, bytes_left)):
                digest.update(contents)
                bytes_left -= len(contents)
        return digest.hexdigest()


@dataclass(frozen=True)
class PartRead:
    """The result of reading a part.

    Args:
        rows: Number of rows of each piece.
        num_lines: Number of lines in the part.
        skipped: Malformed rows left out, lines counted from the part's first one.
        checksum: SHA-256 of the part.
        bad_row: The malformed row that stopped the work.
        refusal: Another reason why the work stopped, in a line.
        has_changed: Whether the part has changed since an earlier run read it.
        pieces: Name, bytes and CRC32C of the file of each piece.
        problem: The first damaged or missing file of an earlier run's work, in words.
    """

    rows: tuple[int, ...] = ()
    num_lines: int = 0
    skipped: dict[str, Any] | None = None
    checksum: str = ""
    bad_row: dict[str, Any] | None = None
    refusal: str | None = None
    has_changed: bool = False
    pieces: tuple[tuple[str, int, int], ...] = ()
    problem: str | None = None

    @property
    def is_refused(self) -> bool:
        """Whether the part stops the work."""
        return self.bad_row is not None or self.refusal is not None

    def files(self, work: Path) -> list[KeptFile]:
        """Return the files of the pieces, which are in the directory `work`."""
        return [KeptFile(work / name, size, crc) for name, size, crc in self.pieces]


def read_part(
    part: Part, number: int, columns: Columns, work: Path, config: PrepareConfig
) -> PartRead:
    """Parse a part and keep its typed rows on disk, unless an earlier run has done so.

    Args:
        part: The part.
        number: Its number among all parts.
        columns: Its columns.
        work: Directory for its pieces, and for a note that they are finished.
        config: What to do with a malformed row.
    """
    note = work / f"{number:06d}.json"
    problem = None
    try:
        checksum = part.checksum()
        if note.exists():
            earlier = _read_before(note)
            if earlier.checksum and earlier.checksum != checksum:
                return replace(earlier, has_changed=True)
            if earlier.problem is None:
                return earlier
            problem = earlier.problem
        file = _file(part, columns, config)
        frames = _frames(file, part)
        rows, files = [], []
        for index, frame in enumerate(frames):
            path = piece_path(work, number, index)
            files.append(write_piece(columns.transform(frame), path))
            rows.append(frame.height)
    except BadRowError as error:
        row = {**asdict(error.row), "path": str(error.row.path)}
        return PartRead(bad_row=row)
    except InputError as error:
        return PartRead(refusal=str(error))
    num_lines = file.num_lines if isinstance(file, RawFile) else 0
    pieces = tuple((piece.path.name, piece.num_bytes, piece.crc32c) for piece in files)
    skipped = file.skipped.to_json()
    result = PartRead(tuple(rows), num_lines, skipped, checksum, pieces=pieces)
    write_note(note, asdict(result))
    return replace(result, problem=problem)


def _read_before(note: Path) -> PartRead:
    """Return an earlier run's result for a part, with the problem of its files."""
    values = read_note(note)
    if values is None:
        return PartRead(problem=f"{note} is damaged")
    earlier = PartRead(**{**values, "rows": tuple(values["rows"])})
    for file in earlier.files(note.parent):
        if problem := file.problem():
            return replace(earlier, problem=f"{file.path} {problem}")
    return earlier


def _file(part: Part, columns: Columns, config: PrepareConfig) -> RawSource:
    if part.chunks is None:
        return open_raw(part.path, columns, config.on_bad_row)
    return RawFile(part.path, config.on_bad_row, part.chunk_bytes)


def _frames(file: RawSource, part: Part) -> Iterator[pl.DataFrame]:
    if part.chunks is None or not isinstance(file, RawFile):
        return file.frames()
    return file.part(part.chunks)


def piece_path(work: Path, part: int, index: int) -> Path:
    """Return the path of a piece of a part."""
    return work / f"{part:06d}-{index:06d}.arrow"
