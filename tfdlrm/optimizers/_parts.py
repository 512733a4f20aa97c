"""The optimizers inside an optimizer, which scales a loss or has several parts."""

from typing import Any


def parts_of(optimizer: Any) -> list[Any]:
    """Return the optimizers that step, that of the tables first.

    Args:
        optimizer: A Keras optimizer, perhaps one that scales the loss, or a
            `CompositeOptimizer`.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of loss scaling
    return list(getattr(inner, "parts", None) or [inner])


def rates_of(optimizer: Any) -> list[Any]:
    """Return the optimizers whose `learning_rate` a callback may scale."""
    return parts_of(optimizer)


def table_optimizer(optimizer: Any) -> Any:
    """Return the optimizer that steps the embedding tables."""
    return parts_of(optimizer)[0]
