"""The first stage on Spark: parse parts of raw files, keep typed rows on disk.

A plain Criteo file can be cut between any two lines, so many machines read it at once.
Every other file is read by one task: zipped text cannot be read from the middle, and in
quoted text only reading from the beginning shows where lines end.
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
"""Folder with a file for each part that stops the work, so that later ones stop."""


def read_rows(
    cluster: Cluster,
    raw: Sequence[Path],
    columns: Columns,
    work: Path,
    config: PrepareConfig,
) -> Spill:
    """Parse raw files and keep their typed columns on disk, in order.

    A part that an earlier run has read, and that is unchanged, is not read again.

    Args:
        cluster: The cluster that reads.
        raw: The raw files.
        columns: Their columns.
        work: Directory for the pieces.
        config: What to do with a malformed row.

    Raises:
        InputError: If a file cannot be used, or changes while it is read; the message
            names the first of several bad rows.
        InputChangedError: If a file has changed since an earlier run read it.
    """
    # Workers may have another working directory.
    paths = [path if is_remote(path) else path.absolute() for path in raw]
    files = open_all(paths, columns, config.on_bad_row)
    identities = [identity(path) for path in raw]
    parts = [part for number, file in enumerate(files) for part in _parts(number, file)]
    shutil.rmtree(work / _REFUSED, ignore_errors=True)
    (work / _REFUSED).mkdir()
    work_on = partial(_checksum_or_read, paths, parts, columns, work, config)
    with stage("read rows", sum(file.num_bytes for file in files)) as advance:
        task_results = cluster.map(work_on, len(files) + len(parts))
        checksums, results = task_results[: len(files)], task_results[len(files) :]
        rows = sum(sum(part.rows) for part in results)
        advance(sum(file.num_bytes for file in files), rows)
    for path, part, result in zip(
        [raw[part.file] for part in parts], parts, results, strict=True
    ):
        if result.has_changed:
            raise InputChangedError(path)
        if result.is_refused:
            _refuse(path, part, result, _first_line(parts, results, part))
        if not result.checksum:
            raise RuntimeError(f"{part} was not read, though nothing before it stops")
    _report([result.problem for result in results if result.problem])
    for path, old_identity, checksum in zip(raw, identities, checksums, strict=True):
        if isinstance(checksum, InputError):
            raise checksum
        require_unchanged(path, old_identity)
    return _spill(raw, parts, results, checksums, work)


def _report(problems: Sequence[str]) -> None:
    if problems:
        in_all = f" ({len(problems)} parts in all)" if len(problems) > 1 else ""
        print(f"{problems[0]}{in_all}: read again from the raw files")


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
    """Do one task: checksums of whole files come first, since they take longest."""
    if number < len(paths):
        try:
            return file_checksum(paths[number])
        except InputError as error:
            return error  # raised unless reading the rows has a better message
    number -= len(paths)
    if any(int(refused.name) < number for refused in (work / _REFUSED).iterdir()):
        return PartRead()  # the work stops before this part
    result = read_part(parts[number], number, columns, work, config)
    if result.is_refused:
        (work / _REFUSED / str(number)).touch()
    return result


def _first_line(parts: Sequence[Part], results: Sequence[PartRead], part: Part) -> int:
    """Return the number of lines before a part in its file."""
    return sum(
        result.num_lines
        for earlier_part, result in zip(
            parts[: parts.index(part)], results, strict=False
        )
        if earlier_part.file == part.file
    )


def _refuse(path: Path, part: Part, result: PartRead, lines_before: int) -> None:
    if result.bad_row is None:
        raise InputError((result.refusal or "").replace(str(part.path), str(path), 1))
    line = result.bad_row["line"] + lines_before
    raise BadRowError(BadRow(**{**result.bad_row, "path": path, "line": line}))


def _spill(
    raw: Sequence[Path],
    parts: Sequence[Part],
    results: Sequence[PartRead],
    checksums: Sequence[str],
    work: Path,
) -> Spill:
    skipped = SkippedRows()
    rows_per_file = []
    grouped = groupby(zip(parts, results, strict=True), key=lambda pair: pair[0].file)
    for (_, group), path in zip(grouped, raw, strict=True):
        results_of_file = [result for _, result in group]
        starts = accumulate((result.num_lines for result in results_of_file), initial=0)
        skipped_of_file = SkippedRows()
        for start, result in zip(starts, results_of_file, strict=False):
            skipped_of_file.update(_renumber(result, path, start))
        rows_per_file.append(sum(sum(result.rows) for result in results_of_file))
        if not rows_per_file[-1] and skipped_of_file.examples:
            RawFile(path).refuse_all_rows(next(iter(skipped_of_file.examples.values())))
        skipped.update(skipped_of_file)
    pieces = [
        (piece_path(work, number, index), rows)
        for number, result in enumerate(results)
        for index, rows in enumerate(result.rows)
    ]
    return Spill(
        pieces=tuple(path for path, _ in pieces),
        rows_per_piece=tuple(rows for _, rows in pieces),
        files=tuple(file for result in results for file in result.files(work)),
        rows_per_file=tuple(rows_per_file),
        checksums=tuple(checksums),
        skipped=skipped,
    )


def _renumber(result: PartRead, path: Path, lines_before: int) -> SkippedRows:
    """Return the skipped rows of a part, with their line numbers in the file."""
    skipped = SkippedRows.from_json(result.skipped or {"counts": {}, "examples": []})
    skipped.examples = {
        reason: replace(row, path=path, line=row.line + lines_before)
        for reason, row in skipped.examples.items()
    }
    return skipped
