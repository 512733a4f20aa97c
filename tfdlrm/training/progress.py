"""How far a run was trained and which weights it keeps, in words and numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfdlrm.config import TrainConfig
from tfdlrm.config.early_stopping import Measure, best_in_words
from tfdlrm.training.curves import CurvePoint, validation_points
from tfdlrm.training.early_stopping import has_stopped, kept_step


@dataclass(frozen=True)
class Progress:
    """The steps of a run, as its curves and its last checkpoint have them.

    Args:
        step: Training steps done.
        kept_step: The step whose weights the run keeps.
        steps_per_epoch: Steps of an epoch.
        epochs: Epochs that were asked for.
        kept_by: Measure by which the kept step is the best; `None` for the last.
        stopped_early: Whether early stopping ended it.
        stopped_by_callback: Whether a callback of the user ended it.
        has_callbacks: Whether callbacks of the user may have changed the weights.
    """

    step: int
    kept_step: int
    steps_per_epoch: int
    epochs: int
    kept_by: Measure | None = None
    stopped_early: bool = False
    stopped_by_callback: bool = False
    has_callbacks: bool = False

    @classmethod
    def of(
        cls,
        config: TrainConfig,
        num_rows: int,
        points: Sequence[CurvePoint],
        state: Mapping[str, Any],
    ) -> "Progress":
        """Return the progress of a run.

        Args:
            config: The settings of the run.
            num_rows: Number of training rows.
            points: The learning curves.
            state: The state of the checkpoint with its weights.
        """
        stopping = config.early_stopping if validation_points(points) else None
        best = None if stopping is None else kept_step(points, stopping)
        step = points[-1].step if points else 0
        step = int(state.get("step", step))
        return cls(
            step=step,
            kept_step=step if best is None else best,
            steps_per_epoch=-(-num_rows // config.batch_size),
            epochs=config.epochs,
            kept_by=None if stopping is None else stopping.metric,
            stopped_early=stopping is not None and has_stopped(points, stopping),
            stopped_by_callback=bool(state.get("stopped_by_callback")),
            has_callbacks=bool(state.get("has_callbacks")),
        )

    @property
    def end(self) -> str:
        """What ended the run before its last epoch did; empty if nothing."""
        if self.step >= self.epochs * self.steps_per_epoch:
            return ""
        if self.stopped_by_callback:
            return "a callback"
        return "early stopping" if self.stopped_early else ""

    @property
    def epochs_in_words(self) -> str:
        """The epochs that were done.

        Example:

        >>> Progress(130, 90, steps_per_epoch=100, epochs=5).epochs_in_words
        '1.3 of 5 epochs'
        >>> Progress(100, 100, steps_per_epoch=100, epochs=1).epochs_in_words
        '1 epoch'
        """
        noun = "epoch" if self.epochs == 1 else "epochs"
        if self.step == self.epochs * self.steps_per_epoch:
            return f"{self.epochs} {noun}"
        share = math.floor(100 * self.step / self.steps_per_epoch) / 100
        return f"{share:g} of {self.epochs} {noun}"

    @property
    def ending_in_words(self) -> str:
        """The steps, and what ended them too early, if anything.

        Example:

        >>> Progress(130, 90, 100, epochs=5, stopped_early=True).ending_in_words
        '130 of 500 steps, ended by early stopping'
        """
        planned = self.epochs * self.steps_per_epoch
        if not self.end:
            return f"{self.step:,} steps"
        return f"{self.step:,} of {planned:,} steps, ended by {self.end}"

    @property
    def weights_in_words(self) -> str:
        """The step whose weights are kept, and why.

        Example:

        >>> Progress(130, 90, 100, epochs=5, kept_by="auc").weights_in_words
        'of step 90, of the highest validation AUC'
        """
        if self.kept_by is None:
            end = ", unless a callback put back others" if self.has_callbacks else ""
            return f"of step {self.kept_step:,}, the last{end}"
        return f"of step {self.kept_step:,}, of {best_in_words(self.kept_by)}"

    def to_json(self) -> dict[str, Any]:
        """Return the same for `summary.json` and the card of a model."""
        return {
            "steps": self.step,
            "epochs": round(self.step / self.steps_per_epoch, 4),
            "ended_by": self.end or None,
            "kept_step": self.kept_step,
            "kept_by": self.kept_by,
        }
