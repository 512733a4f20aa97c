"""The variables of a model and its optimizer, as pieces to write and to read back."""

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from tfdlrm.optimizers.sparse import scatter_update
from tfdlrm.pieces import DamagedError, Piece
from tfdlrm.run_sizes import PIECE_BYTES


@dataclass(frozen=True)
class _Variable:
    """A variable of the model or its optimizer.

    Args:
        name: By position, since Keras counts its names on through a process.
        copies: It on each device that holds it; they are equal.
    """

    name: str
    copies: tuple[tf.Variable, ...]

    @property
    def first(self) -> tf.Variable:
        return self.copies[0]

    @property
    def row_bytes(self) -> int:
        width = int(np.prod(self.first.shape[1:]))
        return max(1, width * self.first.dtype.size)

    def whole(self) -> Piece:
        return Piece(self.name, self.first.numpy())

    def pieces(self, rows: np.ndarray | range) -> Iterator[Piece]:
        """Some rows, by numbers in ascending order, a piece at a time."""
        step = max(1, PIECE_BYTES // self.row_bytes)
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            # A gather from the variable itself: to read its value would copy it all.
            with tf.device(self.first.device):
                values = tf.raw_ops.ResourceGather(
                    resource=self.first.handle,
                    indices=np.asarray(some),
                    dtype=self.first.dtype,
                )
            yield Piece(self.name, np.asarray(values), some)

    def assign(self, piece: Piece) -> None:
        """Put the values of a piece where they were."""
        for copy in self.copies:
            if piece.rows is None:
                copy.assign(piece.values)
                continue
            with tf.device(copy.device):
                tf.raw_ops.ResourceScatterUpdate(
                    resource=copy.handle,
                    indices=np.asarray(piece.rows),
                    updates=piece.values,
                )


@dataclass(frozen=True)
class _Table:
    """An embedding table and what the optimizer keeps for each of its rows.

    Args:
        variables: The table and the optimizer's variables.
        flags: Bool `(rows,)`: which rows have changed.
    """

    variables: list[_Variable]
    flags: tf.Variable

    @property
    def row_bytes(self) -> int:
        number = 8  # stands beside the values
        return sum(each.row_bytes + number for each in self.variables)

    def changed(self) -> np.ndarray:
        return np.flatnonzero(self.flags.numpy())


class SavedVariables:
    """What a checkpoint holds of a model, by name, and which rows of it have changed.

    Args:
        model: A model, and a compiled one for more than its weights.
        with_optimizer: Whether the optimizer's variables belong to it.
    """

    def __init__(self, model: keras.Model, with_optimizer: bool = True) -> None:
        self._model = model
        self._by_name: dict[str, _Variable] = {}
        self._name_of: dict[int, str] = {}
        self._tables: list[_Table] = []
        self._add("variables", model.variables)
        if with_optimizer:
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
            self._add("optimizer", model.optimizer.variables)

    def _add(self, kind: str, variables: list[keras.Variable]) -> None:
        # Position by position, and not as a model: TensorFlow's own checkpoints do not
        # look into the lists of layers that a Keras layer holds, and would leave out
        # what is in them without a word.
        strategy = self._model.distribute_strategy
        for place, variable in enumerate(variables):
            copies = strategy.experimental_local_results(variable.value)
            name = f"{kind}/{place}"
            self._by_name[name] = _Variable(name, tuple(copies))
            self._name_of[id(variable)] = name

    @property
    def shapes(self) -> dict[str, list[int]]:
        """The shape of each variable."""
        return {
            name: [int(side) for side in each.first.shape]
            for name, each in self._by_name.items()
        }

    def watch_tables(self) -> None:
        """Keep note, from now on, of the rows of embedding tables that change.

        To be called before a training step is compiled.
        """
        outer = self._model.optimizer
        optimizer = getattr(outer, "inner_optimizer", outer)  # of loss scaling
        tables = [
            each
            for each in self._model.trainable_variables
            if getattr(each, "is_embedding_table", False)
        ]
        with self._model.distribute_strategy.scope():
            all_flags = optimizer.watch_rows(tables)
        for table, flags in zip(tables, all_flags, strict=True):
            variables = [table, *optimizer.row_state(table)]
            # A state of another shape, such as row-wise Adagrad's, has the rows too.
            names = [self._name_of[id(each)] for each in variables]
            strategy = self._model.distribute_strategy
            self._tables.append(
                _Table(
                    [self._by_name[name] for name in names],
                    strategy.experimental_local_results(flags)[0],
                )
            )

    @property
    def table_bytes(self) -> int:
        """Bytes of the tables that are watched, and of the optimizer's rows."""
        return sum(
            _num_bytes(each.first) for table in self._tables for each in table.variables
        )

    def changed_bytes(self) -> int:
        """Bytes that `changed_pieces` takes of the tables."""
        return sum(len(each.changed()) * each.row_bytes for each in self._tables)

    def forget_changes(self) -> None:
        """Count changes from now on."""
        for table in self._tables:
            table.flags.assign(tf.zeros_like(table.flags))

    def table_pieces(self) -> Iterator[Piece]:
        """All rows of the tables, each as it is when its piece is drawn."""
        for table in self._tables:
            for variable in table.variables:
                yield from variable.pieces(range(variable.first.shape[0]))

    def changed_pieces(self) -> Iterator[Piece]:
        """What is no table, and the rows of tables that have changed."""
        yield from self._other_pieces()
        for table in self._tables:
            rows = table.changed()
            for variable in table.variables:
                yield from variable.pieces(rows)

    def _other_pieces(self) -> Iterator[Piece]:
        in_tables = {each.name for table in self._tables for each in table.variables}
        for name, variable in self._by_name.items():
            if name not in in_tables:
                yield variable.whole()

    def all_pieces(self) -> Iterator[Piece]:
        """Everything."""
        yield from self._other_pieces()
        yield from self.table_pieces()

    def assign(self, piece: Piece, is_change: bool = False) -> None:
        """Put the values of a piece into its variable.

        Args:
            piece: The piece.
            is_change: Whether its rows are to count as changed.

        Raises:
            DamagedError: If there is no such variable, or it has another shape.
        """
        variable = self._by_name.get(piece.name)
        if variable is None:
            return  # of the optimizer, where only the weights are wanted
        shape = tuple(variable.first.shape)
        expected = shape if piece.rows is None else (len(piece.rows), *shape[1:])
        if piece.values.shape != expected:
            raise DamagedError(
                f"{piece.name} has shape {piece.values.shape}, expected {expected}"
            )
        variable.assign(piece)
        for table in self._tables:
            if is_change and variable is table.variables[0] and piece.rows is not None:
                rows = np.asarray(piece.rows)
                scatter_update(table.flags, rows, np.ones(len(rows), bool))


def _num_bytes(variable: tf.Variable) -> int:
    return int(np.prod(variable.shape)) * int(variable.dtype.size)
