"""The validation curve of a trial, reported to Optuna, and its end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tfdlrm.config import TrainConfig
from tfdlrm.training.early_stopping import has_stopped, kept_step
from tfdlrm.training.watched_points import TrainingEndedError
from tfdlrm.tuning.outcome import Outcome
from tfdlrm.tuning.study import new_points

if TYPE_CHECKING:
    from optuna.trial import Trial

    from tfdlrm.training.curves import CurvePoint

_UNPRUNED = 4
"""No trial is pruned in the first such part of its training."""


@dataclass
class Watcher:
    """Watches the learning curves of a trial.

    Args:
        trial: The trial.
        config: Its settings.
        num_rows: Number of training rows.
        metric: The measure to search by.
        prunes: Whether trials that promise little end early.
        points: The validation curve.
        is_pruned: Whether this one did.
    """

    trial: "Trial"
    config: TrainConfig
    num_rows: int
    metric: str
    prunes: bool
    points: list["CurvePoint"] = field(default_factory=list)
    is_pruned: bool = False

    def watch(self, points: Sequence["CurvePoint"]) -> None:
        """Report the new points of the curves.

        Raises:
            TrainingEndedError: If the training ends with them.
        """
        self.points = [point for point in points if point.split == "validation"]
        values = {self._position(point): self._value(point) for point in self.points}
        unreported = new_points(self.trial, values)
        for position, value in unreported.items():
            self.trial.report(value, position)
        if self._has_ended:
            raise TrainingEndedError
        if unreported and self.prunes and self._should_prune():
            self.is_pruned = True
            raise TrainingEndedError

    def outcome(self) -> Outcome:
        """Return the outcome of the training when it has ended."""
        last = self.points[-1]
        if self.is_pruned:
            return Outcome.at("pruned", last)
        if not math.isfinite(self._value(last)):
            return Outcome.failed(
                f"the {self.metric} of the validation rows is {self._value(last)} at "
                f"step {last.step:,}"
            )
        patience = self.config.early_stopping
        if patience is None:
            return Outcome.at("complete", last)
        step = kept_step(self.points, patience)
        return Outcome.at(
            "complete", next(point for point in self.points if point.step == step)
        )

    @property
    def _has_ended(self) -> bool:
        last = self.points[-1]
        patience = self.config.early_stopping
        is_last = last.step >= self.config.epochs * self._steps_per_epoch
        has_value = math.isfinite(self._value(last))
        stops = patience is not None and has_stopped(self.points, patience)
        return is_last or stops or not has_value

    def _should_prune(self) -> bool:
        from optuna.pruners import MedianPruner

        planned = self.config.epochs * self.config.evaluations_per_epoch
        self.trial.study.pruner = MedianPruner(n_warmup_steps=planned // _UNPRUNED)
        return self.trial.should_prune()

    def _value(self, point: "CurvePoint") -> float:
        return point.auc if self.metric == "auc" else point.loss

    @property
    def _steps_per_epoch(self) -> int:
        return -(-self.num_rows // self.config.batch_size)

    def _position(self, point: "CurvePoint") -> int:
        """Return where a point is in the training, whatever the size of batches.

        Trials with other batches do other steps for the same rows. The position counts
        the points that an epoch should have; two points never have the same one.
        """
        epoch, step = divmod(point.step - 1, self._steps_per_epoch)
        points = self.config.evaluations_per_epoch
        return epoch * points + points * (step + 1) // self._steps_per_epoch
