"""The first stage on Spark: parts of raw files parsed, their typed rows on disk.

A plain Criteo file is cut anywhere between lines, so many machines read it at once.
Other files are read by one task each: zipped text has no place to begin, and what is a
line in quoted text only its beginning tells.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

from pipelines.engines.spark_parts import Part, PartRead, piece_path, read_part
from pipelines.engines.spark_session import Cluster
from pipelines.logs.bad_rows import BadRow, BadRowError, SkippedRows
from pipelines.logs.checksums import (
    InputChangedError,
    file_checksum,
    identity,
    require_unchanged,
)
from pipelines.logs.columns import Columns
from pipelines.logs.criteo_file import RawFile
from pipelines.logs.opening import RawSource, open_all
from pipelines.stages.spill import Spill
from tfdlrm.base.errors import InputError
from tfdlrm.base.progress import stage
from tfdlrm.base.storage import is_remote
from tfdlrm.config import PrepareConfig

CHUNKS_PER_PART = 8

_REFUSED = "refused"
"""Folder with a file for each part that stops the work: later ones are spared."""


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
    # Workers may be in another directory.
    places = [path if is_remote(path) else path.absolute() for path in raw]
    files = open_all(places, columns, config.on_bad_row)
    before = [identity(path) for path in raw]
    parts = [part for number, file in enumerate(files) for part in _parts(number, file)]
    shutil.rmtree(work / _REFUSED, ignore_errors=True)
    (work / _REFUSED).mkdir()
    work_on = partial(_checksum_or_read, places, parts, columns, work, config)
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
    _tell_lost([read.lost for read in found if read.lost])
    for path, each, checksum in zip(raw, before, checksums, strict=True):
        if isinstance(checksum, InputError):
            raise checksum
        require_unchanged(path, each)
    return _spill(raw, parts, found, checksums, work)


def _tell_lost(lost: Sequence[str]) -> None:
    if lost:
        in_all = f" ({len(lost)} parts in all)" if len(lost) > 1 else ""
        print(f"{lost[0]}{in_all}: read again from the raw files")


def _parts(number: int, file: RawSource) -> Iterator[Part]:
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
        except InputError as error:
            return error  # told unless whoever reads the rows says more
    number -= len(paths)
    if any(int(each.name) < number for each in (work / _REFUSED).iterdir()):
        return PartRead()  # the work stops before this part
    read = read_part(parts[number], number, columns, work, config)
    if read.is_refused:
        (work / _REFUSED / str(number)).touch()
    return read


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
        of_file = SkippedRows()
        for start, read in zip(starts, reads, strict=False):
            of_file.update(_moved(read, path, start))
        rows_per_file.append(sum(sum(read.rows) for read in reads))
        if not rows_per_file[-1] and of_file.examples:
            RawFile(path).refuse_all_rows(next(iter(of_file.examples.values())))
        skipped.update(of_file)
    pieces = [
        (piece_path(work, number, index), rows)
        for number, read in enumerate(found)
        for index, rows in enumerate(read.rows)
    ]
    return Spill(
        pieces=tuple(path for path, _ in pieces),
        rows_per_piece=tuple(rows for _, rows in pieces),
        files=tuple(file for read in found for file in read.files(work)),
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
