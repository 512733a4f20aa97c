"""Decay of all rows of a table at every step."""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf


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
