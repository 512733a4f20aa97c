"""Bring the counts of rare values into the order of the values, in bounded memory."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.ipc

from tfdlrm.base.checksums import file_crc32c
from tfdlrm.base.kept_files import KeptFile

_SAMPLES = 256
"""Of as many values as fit in memory, this many show where the values lie."""


class RareValues:
    """Counts that are added in any order, and come back in the order of the values.

    Those that do not fit in memory go to disk sorted, and are merged range by range.

    Args:
        max_values: Number of values to hold in memory.
        work: Directory for temporary files, which are removed at the end.

    Example:

    >>> rare = RareValues(max_values=1000, work=Path("."))
    >>> rare.add(pl.DataFrame({"value": [7, 3], "frequency": [1, 2]}))
    >>> rare.add(pl.DataFrame({"value": [5], "frequency": [1]}))
    >>> [frame["value"].to_list() for frame in rare.in_order()]
    [[3, 5, 7]]
    """

    def __init__(self, max_values: int, work: Path) -> None:
        self._max_values = max(max_values, 1)
        self._work = work
        self._frames: list[pl.DataFrame] = []
        self._num_waiting = 0
        self._runs: list[KeptFile] = []

    def add(self, counts: pl.DataFrame) -> None:
        """Add counts: `value` and further columns; no value may be added twice."""
        self._frames.append(counts)
        self._num_waiting += counts.height
        if len(self._frames) > 1 and self._num_waiting > self._max_values:
            self._spill()

    def in_order(self) -> Iterator[pl.DataFrame]:
        """Yield all counts once, in ascending order of the values."""
        if not self._runs:
            yield pl.concat(self._frames).sort("value")
            return
        self._spill()
        for run in self._runs:
            run.check()
        with ExitStack() as stack:
            files = [pa.memory_map(str(run.path)) for run in self._runs]
            tables = [
                pa.ipc.open_file(stack.enter_context(file)).read_all() for file in files
            ]
            bounds = self._bounds(tables)
            cuts = [_positions(table["value"], bounds) for table in tables]
            for positions in zip(*map(pairwise, cuts), strict=True):
                parts = [
                    table.slice(start, end - start)
                    for table, (start, end) in zip(tables, positions, strict=True)
                ]
                counts = pl.from_arrow(pa.concat_tables(parts).combine_chunks())
                assert isinstance(counts, pl.DataFrame)
                yield counts.sort("value")
        for run in self._runs:
            run.path.unlink()

    def _spill(self) -> None:
        for counts in self._frames:
            path = self._work / f"rare-{len(self._runs):04d}.arrow"
            _write(counts.sort("value"), path)
            run = KeptFile(path, path.stat().st_size, file_crc32c(path))
            self._runs.append(run)
        self._frames, self._num_waiting = [], 0

    def _bounds(self, runs: Sequence[pa.Table]) -> list[Any]:
        """Return values that cut all runs into ranges which fit in memory."""
        stride = max(1, self._max_values // _SAMPLES)
        samples = [
            run["value"].take(pa.array(range(0, len(run), stride), pa.int64()))
            for run in runs
        ]
        values = pl.concat([pl.Series("value", sample) for sample in samples])
        return values.sort().gather_every(_SAMPLES // 2)[1:].to_list()


def _write(counts: pl.DataFrame, path: Path) -> None:
    # Not Polars' own file, whose texts would be copied when it is opened.
    table = counts.to_arrow(compat_level=pl.CompatLevel.oldest())
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as run:
        run.write_table(table)


def _positions(values: pa.ChunkedArray, bounds: Sequence[Any]) -> list[int]:
    """Return where sorted values are cut at the bounds, with both ends."""
    rows = range(len(values))
    inner = [
        bisect_left(rows, bound, key=lambda row: values[row].as_py())
        for bound in bounds
    ]
    return [0, *inner, len(values)]
