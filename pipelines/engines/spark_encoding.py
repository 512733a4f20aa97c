"""Ids on Spark: any worker encodes any piece, and keeps its tables for the next one."""

import io
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.engines.spark_session import Cluster
from pipelines.ids.column_tables import ColumnTables
from pipelines.ids.vocabulary import Table
from pipelines.stages.piece_encoding import PieceEncoder
from pipelines.stages.spill import Spill
from tfdlrm.base.checksums import file_crc32c
from tfdlrm.base.kept_files import (
    DamagedFileError,
    KeptFile,
    read_note,
    write_note,
)
from tfdlrm.base.progress import stage
from tfdlrm.base.storage import whole


@dataclass(frozen=True)
class Encoding:
    """What tasks need to encode any piece.

    Args:
        spill: The typed rows.
        encoder: Encodes a piece.
        tables: The tables from values to ids.
        groups: Groups of columns whose tables fit in memory together; the ids of all
            groups but the last are kept on disk.
        run: An identifier that no other run has, since workers may outlive a run.
    """

    spill: Spill
    encoder: PieceEncoder
    tables: ColumnTables
    groups: tuple[tuple[str, ...], ...]
    run: str

    def frame(self, number: int) -> pl.DataFrame:
        """Read the typed rows of a piece."""
        return self.spill.read(number)

    def ids(self, group: int, frame: pl.DataFrame) -> dict[str, np.ndarray]:
        """Return the ids of a group of columns."""
        names = self.groups[group]
        return self.encoder.ids(frame, names, _load(self.run, self.tables, names))

    def ids_path(self, number: int, group: int) -> Path:
        """Return the path for a piece's ids of a group of columns."""
        names = self.encoder.columns.categorical_features
        start, end = (names.index(self.groups[group][side]) for side in (0, -1))
        return self.spill.pieces[number].with_suffix(f".{start}-{end}.npz")

    def ids_file(self, number: int, group: int) -> KeptFile | None:
        """Return the file with a piece's ids of a group, if it is finished."""
        path = self.ids_path(number, group)
        note = read_note(_note_of(path))
        return note and KeptFile(path, *note)

    def read_ids(self, number: int, group: int) -> dict[str, np.ndarray]:
        """Read a piece's ids of a group of columns, which `keep_ids` has written.

        Raises:
            DamagedFileError: If the file is not what was written.
        """
        file = self.ids_file(number, group)
        if file is None:
            raise DamagedFileError(f"{self.ids_path(number, group)} is not finished")
        names = self.encoder.names_of_ids([self.groups[group]])
        with np.load(io.BytesIO(file.read())) as arrays:
            return {name: arrays[str(i)] for i, name in enumerate(names)}


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


@lru_cache(maxsize=1)
def _load(run: str, tables: ColumnTables, names: tuple[str, ...]) -> list[Table]:
    """Load tables of ids; a worker keeps the last ones for its next task."""
    del run
    return [tables.load(name) for name in names]


def keep_ids(cluster: Cluster, encoding: Encoding) -> None:
    """Write the ids of all groups of columns but the last to disk."""
    num_rows = encoding.spill.starts[-1]
    for group, names in enumerate(encoding.groups[:-1]):
        with stage(f"ids of {names[0]} to {names[-1]}", num_rows) as advance:
            keep = partial(_keep_ids, encoding, group)
            cluster.map(keep, len(encoding.spill.pieces))
            advance(num_rows, num_rows)


def _keep_ids(encoding: Encoding, group: int, number: int) -> None:
    ids_file = encoding.ids_file(number, group)
    if ids_file is not None and ids_file.problem() is None:
        return
    path = encoding.ids_path(number, group)
    ids = encoding.ids(group, encoding.frame(number))
    contents = io.BytesIO()
    # Named by position: a column may be called `file`, or end with `.npy`.
    np.savez(contents, **{str(i): values for i, values in enumerate(ids.values())})
    with whole(path) as temporary:
        temporary.write_bytes(contents.getvalue())
    write_note(_note_of(path), [path.stat().st_size, file_crc32c(path)])
