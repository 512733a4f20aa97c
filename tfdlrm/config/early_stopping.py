"""Settings of early stopping, and of what validation is measured by."""

from dataclasses import dataclass
from typing import Literal

from tfdlrm.base.errors import require
from tfdlrm.config.values import take_values

Measure = Literal["log_loss", "auc"]
"""Measures of the validation rows."""


@dataclass(frozen=True)
class EarlyStoppingConfig:
    """When training ends before its last epoch, and which weights are kept.

    Args:
        patience: Points in a row of the validation curve that are no better than the
            best before them, after which training ends and the weights of that best
            point are kept; null trains all epochs.
        metric: Measure of the validation rows that decides which point is best:
            `log_loss`, the lowest, or `auc`, the highest.
    """

    patience: int
    metric: Measure = "log_loss"

    def __post_init__(self) -> None:
        take_values(self)
        require(self.patience >= 1, "patience", self.patience, ">= 1")

    @property
    def best_in_words(self) -> str:
        """The value of the point whose weights are kept."""
        return best_in_words(self.metric)


def best_in_words(measure: Measure) -> str:
    """Return the best value of a measure in words.

    Example:

    >>> best_in_words("log_loss"), best_in_words("auc")
    ('the lowest validation log loss', 'the highest validation AUC')
    """
    if measure == "auc":
        return "the highest validation AUC"
    return "the lowest validation log loss"
