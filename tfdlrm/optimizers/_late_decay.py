"""Decay that rows of a table catch up on when a batch names them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfdlrm.layers._missed_decay import MissedDecay
from tfdlrm.layers._table_rows import own_copy, write_rows
from tfdlrm.optimizers._parts import table_optimizer
from tfdlrm.optimizers._tables import is_table

_LARGEST_SHARE = 1 - 2**-24
"""The largest share of a row that one step takes away."""

_NUMBERS_AT_ONCE = 2**22


@dataclass(frozen=True)
class LateDecay:
    """What each row has missed, as a sum over steps.

    A step multiplies a row by `1 - learning_rate * rate`. The logarithms of that are
    summed up over all steps, and for each row up to the step that it was brought up to.
    The difference of both sums is what the row has missed, whatever the schedule of the
    learning rate was. Lookups in tables of `EmbeddingCollection` read rows as they are
    after all steps, so that a run differs in rounding alone from one that decays every
    row at every step.

    Args:
        rate: Share of a row, for a learning rate of 1, that a step takes away.
        total: The sum over all steps, a float64 variable.
        tables: Tables that decay.
        sums: For each table the sum of each row, a float64 variable `(rows,)`.
    """

    rate: float
    total: keras.Variable
    tables: Sequence[keras.Variable]
    sums: Sequence[keras.Variable]

    def __post_init__(self) -> None:
        self.attach()

    def attach(self) -> None:
        """Let lookups read rows as they are after all steps."""
        for table, sums in zip(self.tables, self.sums, strict=True):
            table.missed_decay = MissedDecay(self.total.value, sums.value)

    def detach(self) -> None:
        """Let lookups read rows as they are stored."""
        for table in self.tables:
            table.missed_decay = None

    def add_step(self, learning_rate: Any) -> None:
        """Count a step, before it updates any row."""
        share = tf.cast(learning_rate, tf.float64) * self.rate
        share = tf.minimum(share, tf.constant(_LARGEST_SHARE, tf.float64))
        self.total.value.assign_add(tf.math.log1p(-share))

    def catch_up_rows(self, table: Any, sums: Any, rows: Any) -> None:
        """Bring rows up to now, which may be named several times.

        Args:
            table: The table, or its copy on this device.
            sums: The sum of each row.
            rows: Row numbers.
        """
        sums = own_copy(sums)
        missed = MissedDecay(self.total.value, sums)
        values = missed.decay(tf.gather(table, rows), rows)
        with tf.control_dependencies([values]):
            write_rows(table, rows, values)
            write_rows(sums, rows, tf.fill(tf.shape(rows), missed.now))

    def catch_up_with(self, table: Any, gradient: Any, sums: Any) -> None:
        """Bring the rows of a gradient up to now, this step's decay included.

        Args:
            table: The table, or its copy on this device.
            gradient: Its gradient, dense or `tf.IndexedSlices`.
            sums: The sum of each row.
        """
        is_sparse = isinstance(gradient, tf.IndexedSlices)
        rows = gradient.indices if is_sparse else tf.range(table.shape[0])
        self.catch_up_rows(table, sums.value, rows)

    def catch_up(self) -> None:
        """Bring all rows of all tables up to now, some at a time."""
        for table, sums in zip(self.tables, self.sums, strict=True):
            num_rows, dim = table.shape
            step = max(1, _NUMBERS_AT_ONCE // dim)
            for copies in zip(_copies(table), _copies(sums), strict=True):
                with tf.device(copies[0].device):
                    for start in range(0, num_rows, step):
                        rows = tf.range(start, min(start + step, num_rows))
                        self.catch_up_rows(*copies, rows)

    def expect_new_rows(self) -> None:
        """Mark all rows as new, before the sums of those that are not are read."""
        self._map_sums(lambda sums: tf.fill(sums.shape, tf.constant(1.0, tf.float64)))

    def begin_new_rows(self) -> None:
        """Let the rows that are still marked as new have missed nothing."""
        now = tf.convert_to_tensor(self.total.value)
        self._map_sums(lambda sums: tf.where(sums > 0, now, sums))

    def _map_sums(self, function: Callable[[Any], Any]) -> None:
        for variable in self.sums:
            for copy in _copies(variable):
                with tf.device(copy.device):
                    copy.assign(function(copy))


def require_late_tables(name: str, variables: Sequence[Any]) -> None:
    """Refuse late decay where lookups could not read it.

    Args:
        name: Name of the optimizer.
        variables: The variables that it is built for.

    Raises:
        ValueError: If a table is none of `EmbeddingCollection`, or a step that was
            traced before has lookups without the decay.
    """
    others = [
        variable.path
        for variable in filter(is_table, variables)
        if not getattr(variable, "is_embedding_table", False)
    ]
    if others:
        raise ValueError(
            f"{name} has decay_of='touched', which {others[0]} cannot read: use "
            "EmbeddingCollection, or decay_of='all'."
        )
    if tf.inside_function():
        raise ValueError(
            f"{name} has decay_of='touched', for which it must be built before the "
            "first step: call optimizer.build(model.trainable_variables) on a built "
            "model."
        )


def _copies(variable: keras.Variable) -> list[tf.Variable]:
    """Return the copies of a variable on devices."""
    value = variable.value
    if isinstance(value, tf.distribute.DistributedValues):
        return list(value.values)
    return [value]


def catch_up(model: keras.Model) -> None:
    """Bring all rows of a model's tables up to now, if its optimizer decays them late.

    Training goes on from there, with other roundings.
    """
    if (optimizer := _late_optimizer(model)) is not None:
        optimizer.catch_up()


@contextmanager
def as_stored(model: keras.Model) -> Iterator[None]:
    """Bring all rows up to now, and look them up without their optimizer in the block.

    What is traced in the block, such as an exported function, knows no optimizer.
    """
    optimizer = _late_optimizer(model)
    if optimizer is None:
        yield
        return
    optimizer.catch_up()
    optimizer.late_decay.detach()
    try:
        yield
    finally:
        optimizer.late_decay.attach()


def settle(model: keras.Model) -> None:
    """Bring all rows up to now, and forget the decay in lookups traced from now on."""
    catch_up(model)
    if (optimizer := _late_optimizer(model)) is not None:
        optimizer.late_decay.detach()


def _late_optimizer(model: keras.Model) -> Any:
    """Return the optimizer of a model's tables if it decays rows late."""
    if getattr(model, "optimizer", None) is None:
        return None
    optimizer = table_optimizer(model.optimizer)
    return optimizer if getattr(optimizer, "late_decay", None) is not None else None
