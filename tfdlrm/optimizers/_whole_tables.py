"""Decay of all rows of a table at every step."""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfdlrm.optimizers._row_steps import subtract


@dataclass(frozen=True)
class TableDecay:
    """How strongly the rows of tables are pulled to 0, and which rows.

    Args:
        l2: Factor of the sum of the squared numbers of a table in the loss.
        weight_decay: Share of a row, times the learning rate, that a step takes away.
        of: `all` decays every row at every step; `touched` lets a row catch up when a
            batch names it.

    Raises:
        ValueError: If a value is impossible.
    """

    l2: float = 0.0
    weight_decay: float = 0.0
    of: str = "touched"

    def __post_init__(self) -> None:
        if self.l2 < 0 or self.weight_decay < 0:
            raise ValueError(
                f"Got table_l2={self.l2} and table_weight_decay={self.weight_decay}: "
                "expected numbers >= 0."
            )
        if self.of not in ("touched", "all"):
            raise ValueError(f"Got decay_of={self.of!r}: expected 'touched' or 'all'.")

    def __bool__(self) -> bool:
        return bool(self.l2 or self.weight_decay)

    @property
    def is_late(self) -> bool:
        """Whether rows catch up when a batch names them."""
        return bool(self) and self.of == "touched"

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of an optimizer with this decay, for Keras' saved models."""
        if not self:
            return {}
        return {
            "table_l2": self.l2,
            "table_weight_decay": self.weight_decay,
            "decay_of": self.of,
        }

    def require_possible(self, name: str, adds_penalties: bool, clips: bool) -> None:
        """Refuse L2 where an optimizer cannot step by it.

        Args:
            name: Name of the optimizer.
            adds_penalties: Whether its steps of several gradients are that of their
                sum.
            clips: Whether it clips gradients.

        Raises:
            ValueError: If it cannot.
        """
        if self.l2 and self.is_late and not adds_penalties:
            raise ValueError(
                f"{name} has table_l2 and decay_of='touched', but its steps depend on "
                "the penalty at every step before: set table_weight_decay instead, or "
                "decay_of='all'."
            )
        if clips and self.l2:
            raise ValueError(
                f"{name} does not clip gradients together with the penalty of whole "
                "tables: leave clipping or table_l2 unset."
            )

    def step(
        self, table: tf.Variable, gradient: Any, dtype: Any, learning_rate: Any
    ) -> Any:
        """Decay all rows of a table, and return its gradient with that of L2.

        Args:
            table: The table.
            gradient: Its gradient, dense or `tf.IndexedSlices`.
            dtype: Type of the sums.
            learning_rate: Learning rate without the corrections of an optimizer.
        """
        if self.l2 and isinstance(gradient, tf.IndexedSlices):
            values = tf.cast(gradient.values, dtype)
            gradient = whole_gradient(table, values, gradient.indices, self.l2)
        elif self.l2:
            gradient = tf.cast(gradient, dtype) + penalty_gradient(
                table, dtype, self.l2
            )
        if self.weight_decay:
            rate = tf.cast(learning_rate, dtype) * self.weight_decay
            # The gradient of L2 is that before the decay.
            with tf.control_dependencies([getattr(gradient, "values", gradient)]):
                subtract(table, rate * tf.cast(table, dtype))
        return gradient


def whole_gradient(table: tf.Variable, values: Any, rows: Any, l2: float) -> Any:
    """Return the dense gradient of a table and of its L2 penalty.

    Args:
        table: The table.
        values: Gradients of rows, `(n, dim)`.
        rows: The row of each, with repetitions.
        l2: Factor of the sum of squares in the loss.
    """
    sums = tf.math.unsorted_segment_sum(values, rows, table.shape[0])
    return sums + penalty_gradient(table, values.dtype, l2)


def penalty_gradient(table: tf.Variable, dtype: Any, l2: float) -> Any:
    """Return the gradient of the L2 penalty of a table."""
    return 2 * l2 * tf.cast(table, dtype)
