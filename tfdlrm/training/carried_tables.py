"""The rows of a model's tables that a warm start carries over, and their numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import keras
import numpy as np

from tfdlrm.base.plain_text import markdown
from tfdlrm.checkpoints.carry import RowMap
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.layers import BucketVectors, EmbeddingCollection
from tfdlrm.layers._fused_tables import FusedTables
from tfdlrm.optimizers._parts import table_optimizer

_HEAD = (
    "| table | rows | carried over | new | no longer seen |\n|---|---:|---:|---:|---:|"
)


@dataclass(frozen=True)
class ColumnIds:
    """What became of the ids that a categorical column had.

    Args:
        carried: For each id of the source, whether it means here what it meant there.
        seen: For each id of the source, whether the rows of this data set have it.
    """

    carried: np.ndarray
    seen: np.ndarray


@dataclass(frozen=True)
class TableCounts:
    """Numbers of rows of the table of one column.

    Args:
        table: The column; with the quotient-remainder trick, one of its two tables.
        rows: Rows of the table.
        carried: Rows carried over from the source.
        new: All others, which start as in a new table.
        unseen: Rows carried over for ids that the rows of this data set do not have.
    """

    table: str
    rows: int
    carried: int
    new: int
    unseen: int


def carried_rows(
    model: keras.Model, variables: SavedVariables, ids: Mapping[str, ColumnIds]
) -> tuple[dict[str, RowMap], list[TableCounts]]:
    """Return where the rows of a source go to in the tables of a model.

    Args:
        model: The model that takes the rows.
        variables: Its variables.
        ids: The ids of each column that the model uses, in order.

    Returns:
        The rows by the name of the variable that takes them, for tables and for state
        of the optimizer; and the numbers for each table.
    """
    optimizer = table_optimizer(model.optimizer)
    row_maps: dict[str, RowMap] = {}
    counts: dict[str, TableCounts] = {}
    for tables, columns in _tables_of_columns(model, list(ids)):
        column_ids = [ids[column] for column in columns]
        carried = _rows_of(tables, [column.carried for column in column_ids])
        seen = _rows_of(tables, [column.seen for column in column_ids])
        num_rows = np.diff(tables.starts).tolist()
        row_map = RowMap(carried, num_rows)
        for variable in (tables.tables[0], *optimizer.row_state(tables.tables[0])):
            row_maps[variables.holder_of(variable).name] = row_map
        for name, rows, carried_flags, seen_flags in zip(
            _names(tables, columns), num_rows, carried, seen, strict=True
        ):
            num_carried = int(carried_flags.sum())
            num_unseen = int((carried_flags & ~seen_flags).sum())
            counts[name] = TableCounts(
                name, rows, num_carried, rows - num_carried, num_unseen
            )
    return row_maps, list(counts.values())


def as_table(counts: Sequence[TableCounts]) -> str:
    """Return the numbers as a Markdown table.

    Example:

    >>> print(as_table([TableCounts("C1", 1500, 1400, 100, 7)]))
    | table | rows | carried over | new | no longer seen |
    |---|---:|---:|---:|---:|
    | C1 | 1,500 | 1,400 | 100 | 7 |
    """
    lines = [
        f"| {markdown(table)} | {' | '.join(f'{number:,}' for number in numbers)} |"
        for table, *numbers in map(astuple, counts)
    ]
    return "\n".join([_HEAD, *lines])


def _tables_of_columns(
    model: keras.Model, columns: Sequence[str]
) -> list[tuple[FusedTables, list[str]]]:
    """Return the fused tables of categorical columns, and the columns of each."""
    layers = list(model._flatten_layers())
    buckets = {layer.embeddings for layer in layers if isinstance(layer, BucketVectors)}
    return [
        (group.tables, [columns[position] for position in group.positions])
        for layer in layers
        if isinstance(layer, EmbeddingCollection) and layer not in buckets
        for group in layer.groups
    ]


def _rows_of(tables: FusedTables, flags: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return flags of the rows of each table from flags of the ids of each column.

    With the quotient-remainder trick several ids share a row, which has the flag of any
    of them; a row that no id uses has it, too.
    """
    num_collisions = tables.num_collisions
    if num_collisions is None:
        return list(flags)
    quotients = [
        np.logical_or.reduceat(column, np.arange(0, len(column), num_collisions))
        for column in flags
    ]
    remainders = [_remainders(column, num_collisions) for column in flags]
    return [*quotients, *remainders]


def _remainders(flags: np.ndarray, num_collisions: int) -> np.ndarray:
    if len(flags) < num_collisions:
        unused = np.ones(num_collisions - len(flags), bool)
        return np.concatenate([flags, unused])
    num_whole = len(flags) // num_collisions
    rest = flags[num_whole * num_collisions :]
    result = flags[: num_whole * num_collisions].reshape(num_whole, -1).any(axis=0)
    result[: len(rest)] |= rest
    return result


def _names(tables: FusedTables, columns: Sequence[str]) -> list[str]:
    if tables.num_collisions is None:
        return list(columns)
    return [
        f"{column}, {table}"
        for table in ("quotients", "remainders")
        for column in columns
    ]
