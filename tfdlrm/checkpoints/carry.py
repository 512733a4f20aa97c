"""Values of one model's variables in those of another, whose tables have other rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tfdlrm.checkpoints.entries import Piece
from tfdlrm.checkpoints.variables import SavedVariables


class RowMap:
    """Rows of fused tables in other fused tables, of the same columns.

    Args:
        carried: For each table, whether each row of the source is carried over.
        num_rows: Rows of each of the tables that take them; no fewer than the source's.

    Example:

    >>> carried = [np.array([True, False]), np.array([True, True, True])]
    >>> indices, rows = RowMap(carried, [4, 3]).locate(range(5))
    >>> indices.tolist(), rows.tolist()
    ([0, 2, 3, 4], [0, 4, 5, 6])
    """

    def __init__(self, carried: Sequence[np.ndarray], num_rows: Sequence[int]) -> None:
        lengths = [len(flags) for flags in carried]
        self._starts = np.cumsum([0, *lengths[:-1]])
        self._shifts = np.cumsum([0, *num_rows[:-1]]) - self._starts
        self._is_carried = np.concatenate(carried)

    @property
    def num_source_rows(self) -> int:
        """Rows of the source."""
        return len(self._is_carried)

    def locate(self, rows: np.ndarray | range) -> tuple[np.ndarray, np.ndarray]:
        """Return which of some source rows are carried, and where to.

        Args:
            rows: Row numbers of the source.

        Returns:
            Indices into `rows`, and the rows that take these.
        """
        numbers = np.asarray(rows)
        indices = np.flatnonzero(self._is_carried[numbers])
        numbers = numbers[indices]
        tables = np.searchsorted(self._starts, numbers, side="right") - 1
        return indices, numbers + self._shifts[tables]


@dataclass(frozen=True)
class CarriedVariables:
    """Variables of a model that take values of another model, piece by piece.

    It has what `CheckpointDirectory` needs to read a checkpoint into it.

    Args:
        variables: The variables that take the values.
        names: Name of the variable that takes each of the source's, by the name of the
            latter; others are left out.
        shapes: Shape of each variable of the source.
        rows: Where the rows of tables, and of state with as many rows, go to, by name
            of the variable that takes them.
    """

    variables: SavedVariables
    names: Mapping[str, str]
    shapes: Mapping[str, list[int]]
    rows: Mapping[str, RowMap]

    def forget_changes(self) -> None:
        """Do nothing: the variables were not trained yet."""

    def assign(self, piece: Piece, is_change: bool = False) -> None:
        """Assign the values of a piece of the source, as far as they are carried.

        Args:
            piece: The piece.
            is_change: Whether its rows changed since the tables were written; that is
                no matter here.

        Raises:
            DamagedError: If it has another shape.
        """
        name = self.names.get(piece.name)
        if name is None:
            return
        row_map = self.rows.get(name)
        if row_map is None:
            self.variables.assign(Piece(name, piece.values, piece.rows))
            return
        rows = range(len(piece.values)) if piece.rows is None else piece.rows
        indices, target_rows = row_map.locate(rows)
        self.variables.assign(Piece(name, piece.values[indices], target_rows))
