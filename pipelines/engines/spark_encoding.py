"""Ids on Spark: any worker encodes any piece, and keeps its tables for the next."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.engines.spark_session import Cluster
from pipelines.ids.dialects import Dialect
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
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.schema import CategoricalFeature


@dataclass(frozen=True)
class Encoding:
    """What tasks need to encode any piece.

    Args:
        spill: The typed rows.
        encoder: What encodes a piece.
        features: The categorical columns.
        rule: The dialect.
        directory: The data set directory.
        groups: The columns whose tables fit in memory together; the ids of all but the
            last group are on disk.
        kept: What the vocabularies must be.
        run: What no other run has, since workers may live longer.
    """

    spill: Spill
    encoder: PieceEncoder
    features: tuple[CategoricalFeature, ...]
    rule: Dialect
    directory: Path
    groups: tuple[tuple[str, ...], ...]
    kept: Mapping[Path, KeptFile]
    run: str

    def frame(self, number: int) -> pl.DataFrame:
        """The typed rows of a piece."""
        return self.spill.read(number)

    def ids(self, group: int, frame: pl.DataFrame) -> dict[str, np.ndarray]:
        """The ids of a group of columns."""
        features = self.group(group)
        paths = [vocabulary_path(self.directory, each.name) for each in features]
        files = tuple(self.kept[path] for path in paths if path in self.kept)
        tables = _tables(self.run, self.directory, self.rule, features, files)
        return self.encoder.ids(frame, self.groups[group], tables)

    def group(self, number: int) -> tuple[CategoricalFeature, ...]:
        """The columns of a group."""
        by_name = {feature.name: feature for feature in self.features}
        return tuple(by_name[name] for name in self.groups[number])

    def ids_path(self, number: int, group: int) -> Path:
        """Where the ids of a group of columns of a piece are kept."""
        names = self.encoder.columns.categorical_features
        first, last = (names.index(self.groups[group][end]) for end in (0, -1))
        return self.spill.pieces[number].with_suffix(f".{first}-{last}.npz")

    def kept_ids(self, number: int, group: int) -> KeptFile | None:
        """The file with the ids of a group of a piece, if it is finished."""
        path = self.ids_path(number, group)
        noted = read_note(_note_of(path))
        return noted and KeptFile(path, *noted)

    def read_ids(self, number: int, group: int) -> dict[str, np.ndarray]:
        """Read the ids of a group of columns that `keep_ids` put on disk.

        Raises:
            DamagedFileError: If they are not what was written.
        """
        file = self.kept_ids(number, group)
        if file is None:
            raise DamagedFileError(f"{self.ids_path(number, group)} is not finished")
        names = self.encoder.kept_names([self.groups[group]])
        with np.load(io.BytesIO(file.read())) as kept:
            return {name: kept[str(i)] for i, name in enumerate(names)}


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


@lru_cache(maxsize=1)
def _tables(
    run: str,
    directory: Path,
    rule: Dialect,
    features: Sequence[CategoricalFeature],
    files: Sequence[KeptFile],
) -> list[Table]:
    """Tables of ids; a worker keeps the last ones for its next task."""
    del run
    for file in files:
        file.check()
    return [rule.table(directory, feature) for feature in features]


def keep_ids(cluster: Cluster, encoding: Encoding) -> None:
    """Put the ids of all but the last group of columns on disk."""
    num_rows = encoding.spill.starts[-1]
    for group, names in enumerate(encoding.groups[:-1]):
        with stage(f"ids of {names[0]} to {names[-1]}", num_rows) as advance:
            keep = partial(_keep_ids, encoding, group)
            cluster.map(keep, len(encoding.spill.pieces))
            advance(num_rows, num_rows)


def _keep_ids(encoding: Encoding, group: int, number: int) -> None:
    kept = encoding.kept_ids(number, group)
    if kept is not None and kept.problem() is None:
        return
    path = encoding.ids_path(number, group)
    ids = encoding.ids(group, encoding.frame(number))
    contents = io.BytesIO()
    # By their position: a column may be called `file`, or end with `.npy`.
    np.savez(contents, **{str(i): values for i, values in enumerate(ids.values())})
    with whole(path) as aside:
        aside.write_bytes(contents.getvalue())
    write_note(_note_of(path), [path.stat().st_size, file_crc32c(path)])
