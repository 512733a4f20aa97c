"""Ids on Spark: any worker encodes any piece, and keeps its tables for the next."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.dialects import Dialect
from pipelines.engines.spark_session import Cluster
from pipelines.piece_encoding import PieceEncoder
from pipelines.progress import stage
from pipelines.spill import Spill, read_piece
from pipelines.vocabulary import Table
from tfdlrm.schema import CategoricalFeature
from tfdlrm.storage import whole


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
        run: What no other run has, since workers may live longer.
    """

    spill: Spill
    encoder: PieceEncoder
    features: tuple[CategoricalFeature, ...]
    rule: Dialect
    directory: Path
    groups: tuple[tuple[str, ...], ...]
    run: str

    def frame(self, number: int) -> pl.DataFrame:
        """The typed rows of a piece."""
        return read_piece(self.spill.pieces[number])

    def ids(self, group: int, frame: pl.DataFrame) -> dict[str, np.ndarray]:
        """The ids of a group of columns."""
        tables = _tables(self.run, self.directory, self.rule, self.group(group))
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


@lru_cache(maxsize=1)
def _tables(
    run: str, directory: Path, rule: Dialect, features: Sequence[CategoricalFeature]
) -> list[Table]:
    """Tables of ids; a worker keeps the last ones for its next task."""
    del run
    return [rule.table(directory, feature) for feature in features]


def keep_ids(cluster: Cluster, encoding: Encoding) -> None:
    """Put the ids of all but the last group of columns on disk."""
    num_rows = encoding.spill.starts[-1]
    for group, names in enumerate(encoding.groups[:-1]):
        with stage(f"ids of {names[0]} to {names[-1]}", num_rows) as advance:
            keep = partial(_keep_ids, encoding, group)
            cluster.map(keep, len(encoding.spill.pieces))
            advance(num_rows, num_rows)


def kept_ids(encoding: Encoding, group: int, number: int) -> dict[str, np.ndarray]:
    """Return the ids that `keep_ids` put on disk for a piece."""
    names = encoding.encoder.kept_names([encoding.groups[group]])
    with np.load(encoding.ids_path(number, group)) as kept:
        return {name: kept[str(i)] for i, name in enumerate(names)}


def _keep_ids(encoding: Encoding, group: int, number: int) -> None:
    path = encoding.ids_path(number, group)
    if path.exists():
        return
    ids = encoding.ids(group, encoding.frame(number))
    with whole(path) as aside, aside.open("wb") as file:
        # By their position: a column may be called `file`, or end with `.npy`.
        np.savez(file, **{str(i): values for i, values in enumerate(ids.values())})
