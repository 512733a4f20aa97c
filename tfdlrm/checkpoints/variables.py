"""The variables of a model and its optimizer as pieces of a checkpoint."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdlrm.checkpoints.entries import PIECE_BYTES, DamagedError, Piece
from tfdlrm.checkpoints.variable import StoredVariable
from tfdlrm.optimizers._parts import table_optimizer


@dataclass(frozen=True)
class _Table:
    """An embedding table and the optimizer's state of its rows.

    Args:
        variables: The table and the optimizer's variables.
        flags: Bool `(rows,)`, true for rows that have changed.
    """

    variables: list[StoredVariable]
    flags: StoredVariable

    @property
    def row_bytes(self) -> int:
        number_bytes = 8  # of the row number
        return sum(variable.row_bytes + number_bytes for variable in self.variables)

    def changed(self) -> np.ndarray:
        """Return the numbers of the rows that have changed, in ascending order."""
        return np.flatnonzero(self.flags.whole().values)


class SavedVariables:
    """The variables of a model in a checkpoint, by name, and their changed rows.

    Args:
        model: A model, compiled if `with_optimizer`.
        with_optimizer: Whether to include the variables of the optimizer.
    """

    def __init__(self, model: keras.Model, with_optimizer: bool = True) -> None:
        self._model = model
        self._by_name: dict[str, StoredVariable] = {}
        self._name_of: dict[int, str] = {}
        self._table_names: set[str] = set()
        self._tables: list[_Table] = []  # whose changed rows are recorded
        self._add("variables", model.variables)
        if with_optimizer:
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
            self._add("optimizer", model.optimizer.variables)

    def _add(self, group: str, variables: list[keras.Variable]) -> None:
        # By position, not by structure: TensorFlow's own checkpoints do not look into
        # the lists of layers that a Keras layer holds, and would leave out their
        # variables silently.
        for position, parts in enumerate(_group_parts(variables)):
            name = f"{group}/{position}"
            self._by_name[name] = self._describe(name, parts)
            if getattr(parts[0], "is_embedding_table", False):
                self._table_names.add(name)
            for part in parts:
                self._name_of[id(part)] = name

    def _describe(
        self, name: str, parts: list[keras.Variable], values: Any = None
    ) -> StoredVariable:
        """Return the variable in `parts`, or `values` on the same devices."""
        copies_of = self._model.distribute_strategy.experimental_local_results
        values = values or [part.value for part in parts]
        shard = getattr(parts[0], "shard", None)
        return StoredVariable(
            name,
            tuple(tuple(copies_of(value)) for value in values),
            None if shard is None else shard.tables,
        )

    def holder_of(self, variable: keras.Variable) -> StoredVariable:
        """Return the stored variable of a Keras variable or of a table's shard."""
        return self._by_name[self._name_of[id(variable)]]

    def read(self, name: str) -> np.ndarray:
        """Return the value of a variable that is no large table, by its name."""
        return self._by_name[name].whole().values

    @property
    def shapes(self) -> dict[str, list[int]]:
        """The shape of each variable."""
        return {
            name: [int(side) for side in variable.shape]
            for name, variable in self._by_name.items()
        }

    def watch_tables(self) -> None:
        """Record from now on which rows of embedding tables change.

        Call it before a training step is compiled.
        """
        optimizer = table_optimizer(self._model.optimizer)
        tables = [
            variable
            for variable in self._model.trainable_variables
            if getattr(variable, "is_embedding_table", False)
        ]
        with self._model.distribute_strategy.scope():
            all_flags = optimizer.watch_rows(tables)
        flags_of = {id(t): flags for t, flags in zip(tables, all_flags, strict=True)}
        for parts in _group_parts(tables):
            # State of another shape, such as row-wise Adagrad's, has the same rows.
            variables = [parts[0], *optimizer.row_state(parts[0])]
            names = [self._name_of[id(variable)] for variable in variables]
            flags = self._describe("", parts, [flags_of[id(part)] for part in parts])
            self._tables.append(_Table([self._by_name[name] for name in names], flags))
            for part in parts:
                _watch_assignments(part, flags)

    @property
    def table_bytes(self) -> int:
        """Bytes of the watched tables and of their optimizer state."""
        return sum(
            variable.num_bytes for table in self._tables for variable in table.variables
        )

    def changed_bytes(self) -> int:
        """Return the bytes of the tables' rows in `changed_pieces`."""
        return sum(len(table.changed()) * table.row_bytes for table in self._tables)

    def forget_changes(self) -> None:
        """Forget which rows have changed so far."""
        for table in self._tables:
            table.flags.fill(False)

    def table_pieces(self) -> Iterator[Piece]:
        """Yield all rows of the tables, with the values of that moment."""
        for table in self._tables:
            for variable in table.variables:
                yield from variable.pieces(range(variable.shape[0]))

    def changed_pieces(self) -> Iterator[Piece]:
        """Yield all that is not a table, and the changed rows of tables."""
        yield from self._other_pieces()
        for table in self._tables:
            rows = table.changed()
            for variable in table.variables:
                yield from variable.pieces(rows)

    def _other_pieces(self) -> Iterator[Piece]:
        in_tables = {
            variable.name for table in self._tables for variable in table.variables
        }
        for name, variable in self._by_name.items():
            if name not in in_tables:
                # Other variables may be large too, such as state that is not watched.
                if name in self._table_names or variable.num_bytes > PIECE_BYTES:
                    yield from variable.pieces(range(variable.shape[0]))
                else:
                    yield variable.whole()

    def all_pieces(self) -> Iterator[Piece]:
        """Yield all variables."""
        yield from self._other_pieces()
        yield from self.table_pieces()

    def assign(self, piece: Piece, is_change: bool = False) -> None:
        """Assign the values of a piece to its variable.

        Args:
            piece: The piece.
            is_change: Whether its rows count as changed.

        Raises:
            DamagedError: If there is no such variable, or it has another shape.
        """
        variable = self._by_name.get(piece.name)
        if variable is None:
            return  # of the optimizer, where only weights are read
        shape = variable.shape
        expected = shape if piece.rows is None else (len(piece.rows), *shape[1:])
        if piece.values.shape != expected:
            raise DamagedError(
                f"{piece.name} has shape {piece.values.shape}, expected {expected}"
            )
        variable.assign(piece)
        for table in self._tables:
            if is_change and variable is table.variables[0] and piece.rows is not None:
                table.flags.write(piece.rows, np.ones(len(piece.rows), bool))


def _watch_assignments(table: keras.Variable, flags: StoredVariable) -> None:
    """Let all rows count as changed when a callback assigns a table, as Keras does."""
    assign = table.assign

    def assign_and_flag(value: Any) -> Any:
        if not tf.inside_function():  # a training step sets the flags of its rows
            flags.fill(True)
        return assign(value)

    table.assign = assign_and_flag


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of a model to another, on whichever devices their tables lie.

    Args:
        source: The model to copy from.
        target: A model of the same architecture.
    """
    variables = SavedVariables(target, with_optimizer=False)
    for piece in SavedVariables(source, with_optimizer=False).all_pieces():
        variables.assign(piece)


def _group_parts(variables: list[keras.Variable]) -> list[list[keras.Variable]]:
    """Group variables in order: the shards of one table or of one state are one."""
    groups: dict[Any, list[keras.Variable]] = {}
    times: dict[Any, int] = {}
    for variable in variables:
        key: Any = id(variable)
        if (shard := getattr(variable, "shard", None)) is not None:
            # All shards have their states in the same order.
            shard_key = id(shard.tables), shard.number
            times[shard_key] = times.get(shard_key, 0) + 1
            key = id(shard.tables), times[shard_key]
        groups.setdefault(key, []).append(variable)
    return list(groups.values())
