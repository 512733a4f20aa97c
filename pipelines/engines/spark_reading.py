"""The first stage on Spark: parts of raw files parsed, their typed rows on disk.

A plain Criteo file is cut anywhere between lines, so many machines read it at once.
Other files are read by one task each: zipped text has no place to begin, and what is a
line in quoted text only its beginning tells.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.aside import whole
from pipelines.bad_rows import BadRow, BadRowError, SkippedRows
from pipelines.checksums import InputChangedError, file_checksum, identity
from pipelines.columns import Columns
from pipelines.engines.spark_session import Cluster
from pipelines.logs import LogFile
from pipelines.prepared import open_raw
from pipelines.progress import stage
from pipelines.raw import RawFile
from pipelines.spill import Spill, write_piece
from tfdlrm.config import PrepareConfig
from tfdlrm.errors import InputError

CHUNKS_PER_PART = 8

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
        with self.path.open("rb") as file:
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
    """

    rows: tuple[int, ...] = ()
    num_lines: int = 0
    skipped: dict[str, Any] | None = None
    checksum: str = ""
    bad_row: dict[str, Any] | None = None
    refusal: str | None = None
    has_changed: bool = False

    @property
    def is_refused(self) -> bool:
        """Whether something in the part stops the work."""
        return self.bad_row is not None or self.refusal is not None


def read_rows(
    cluster: Cluster,
    raw: Sequence[Path],
    columns: Columns,
    work: Path,
    config: PrepareConfig,
) -> Spill:
    """Parse raw files and keep their typed columns on disk, in order.

    A part that an earlier run has read, and that is what it was, is not read again.

    Args:
        cluster: Where to do it.
        raw: The raw files.
        columns: What their columns are.
        work: Where the pieces go.
        config: What to do with a malformed row.

    Raises:
        InputError: If a file cannot be used, or changes meanwhile; of several bad rows
            the first is told.
        InputChangedError: If what an earlier run has read is not there now.
    """
    files = [open_raw(path.absolute(), columns, config) for path in raw]
    before = [identity(path) for path in raw]
    parts = [part for number, file in enumerate(files) for part in _parts(number, file)]
    paths = tuple(file.path for file in files)
    for stale in work.glob("*.refused"):
        stale.unlink()
    work_on = partial(_checksum_or_read, paths, parts, columns, work, config)
    with stage("read rows", sum(file.num_bytes for file in files)) as advance:
        results = cluster.map(work_on, len(files) + len(parts))
        checksums, found = results[: len(files)], results[len(files) :]
        rows = sum(sum(part.rows) for part in found)
        advance(sum(file.num_bytes for file in files), rows)
    for path, part, read in zip(
        [raw[part.file] for part in parts], parts, found, strict=True
    ):
        if read.has_changed:
            raise InputChangedError(path)
        if read.is_refused:
            _refuse(path, part, read, _first_line(parts, found, part))
        if not read.checksum:
            raise RuntimeError(f"{part} was not read, though nothing before it stops")
    for path, each in zip(raw, before, strict=True):
        if identity(path) != each:
            raise InputError(
                f"{path} changed while it was read, expected a file that nobody writes "
                "to: prepare it again when it is complete"
            )
    return _spill(raw, parts, found, checksums, work)


def _parts(number: int, file: RawFile | LogFile) -> Iterator[Part]:
    num_chunks = file.num_chunks if isinstance(file, RawFile) else None
    if not isinstance(file, RawFile) or num_chunks is None:
        yield Part(number, file.path, None, 0)
        return
    for start in range(0, num_chunks, CHUNKS_PER_PART):
        chunks = range(start, min(start + CHUNKS_PER_PART, num_chunks))
        yield Part(number, file.path, chunks, file.chunk_bytes)


def _checksum_or_read(
    paths: Sequence[Path],
    parts: Sequence[Part],
    columns: Columns,
    work: Path,
    config: PrepareConfig,
    number: int,
) -> Any:
    """What a task does: the checksums of whole files first, since they take longest."""
    if number < len(paths):
        try:
            return file_checksum(paths[number])
        except InputError:
            return ""  # whoever reads the rows says why
    number -= len(paths)
    if any(int(each.stem) < number for each in work.glob("*.refused")):
        return PartRead()  # the work stops before this part
    read = _read_part(parts[number], number, columns, work, config)
    if read.is_refused:
        (work / f"{number:06d}.refused").touch()
    return read


def _read_part(
    part: Part, number: int, columns: Columns, work: Path, config: PrepareConfig
) -> PartRead:
    noted = work / f"{number:06d}.json"
    try:
        checksum = part.checksum()
        if noted.exists():
            before = json.loads(noted.read_text(encoding="utf-8"))
            read = PartRead(**{**before, "rows": tuple(before["rows"])})
            return replace(read, has_changed=read.checksum != checksum)
        file = _file(part, columns, config)
        frames = _frames(file, part)
        rows = []
        for index, frame in enumerate(frames):
            write_piece(columns.transformed(frame), _piece_path(work, number, index))
            rows.append(frame.height)
    except BadRowError as error:
        row = {**asdict(error.row), "path": str(error.row.path)}
        return PartRead(bad_row=row)
    except InputError as error:
        return PartRead(refusal=str(error))
    num_lines = file.num_lines if isinstance(file, RawFile) else 0
    read = PartRead(tuple(rows), num_lines, file.skipped.to_json(), checksum)
    with whole(noted) as aside:
        aside.write_text(json.dumps(asdict(read)), encoding="utf-8")
    return read


def _file(part: Part, columns: Columns, config: PrepareConfig) -> RawFile | LogFile:
    if part.chunks is None:
        return open_raw(part.path, columns, config)
    return RawFile(part.path, config.on_bad_row, part.chunk_bytes)


def _frames(file: RawFile | LogFile, part: Part) -> Iterator[pl.DataFrame]:
    if part.chunks is None or not isinstance(file, RawFile):
        return file.frames()
    return file.part(part.chunks)


def _piece_path(work: Path, part: int, index: int) -> Path:
    return work / f"{part:06d}-{index:06d}.arrow"


def _first_line(parts: Sequence[Part], found: Sequence[PartRead], part: Part) -> int:
    """Lines of its file before a part."""
    return sum(
        read.num_lines
        for each, read in zip(parts[: parts.index(part)], found, strict=False)
        if each.file == part.file
    )


def _refuse(path: Path, part: Part, read: PartRead, lines_before: int) -> None:
    if read.bad_row is None:
        raise InputError((read.refusal or "").replace(str(part.path), str(path), 1))
    line = read.bad_row["line"] + lines_before
    raise BadRowError(BadRow(**{**read.bad_row, "path": path, "line": line}))


def _spill(
    raw: Sequence[Path],
    parts: Sequence[Part],
    found: Sequence[PartRead],
    checksums: Sequence[str],
    work: Path,
) -> Spill:
    skipped = SkippedRows()
    rows_per_file = []
    of_files = groupby(zip(parts, found, strict=True), key=lambda each: each[0].file)
    for (_, group), path in zip(of_files, raw, strict=True):
        reads = [read for _, read in group]
        starts = accumulate((read.num_lines for read in reads), initial=0)
        for start, read in zip(starts, reads, strict=False):
            skipped.update(_moved(read, path, start))
        rows_per_file.append(sum(sum(read.rows) for read in reads))
        if not rows_per_file[-1]:
            first = next(iter(skipped.examples.values()))
            RawFile(path).refuse_all_rows(first)
    pieces = [
        (_piece_path(work, number, index), rows)
        for number, read in enumerate(found)
        for index, rows in enumerate(read.rows)
    ]
    return Spill(
        pieces=tuple(path for path, _ in pieces),
        rows_per_piece=tuple(rows for _, rows in pieces),
        rows_per_file=tuple(rows_per_file),
        checksums=tuple(checksums),
        skipped=skipped,
    )


def _moved(read: PartRead, path: Path, lines_before: int) -> SkippedRows:
    """The skipped rows of a part with their lines in the file."""
    skipped = SkippedRows.from_json(read.skipped or {"counts": {}, "examples": []})
    skipped.examples = {
        kind: replace(row, path=path, line=row.line + lines_before)
        for kind, row in skipped.examples.items()
    }
    return skipped
