"""The outcome of one trial."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from tfdlrm.base.setting_words import as_setting

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

    from tfdlrm.training.curves import CurvePoint

_ATTRIBUTE = "outcome"
_VALUES = "values"


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Args:
        state: How it ended.
        log_loss: Log loss of the validation rows, at the point that it is judged by.
        auc: Their AUC there.
        step: Training steps until that point.
        seconds: Seconds that it took; those of the last process if it was resumed.
        reason: Why it failed.
    """

    state: Literal["complete", "pruned", "failed"]
    log_loss: float = math.nan
    auc: float = math.nan
    step: int = 0
    seconds: float = 0.0
    reason: str = ""

    @classmethod
    def at(cls, state: Literal["complete", "pruned"], point: "CurvePoint") -> "Outcome":
        """Return the outcome of a trial that is judged by a point of its curve."""
        return cls(state, point.loss, point.auc, point.step)

    @classmethod
    def failed(cls, reason: str) -> "Outcome":
        """Return the outcome of a trial without a result."""
        return cls("failed", reason=reason)

    def value(self, metric: str) -> float:
        """Return the measure that is searched by."""
        return self.auc if metric == "auc" else self.log_loss


@dataclass(frozen=True)
class FinishedTrial:
    """A finished trial of a study.

    Args:
        number: Its number.
        values: Values of the settings that are searched, by name.
        outcome: What came of it.
        curve: Values of the measure, by position in the validation curve.
    """

    number: int
    values: Mapping[str, Any]
    outcome: Outcome
    curve: Mapping[int, float]

    def value_in_words(self, name: str) -> str:
        """Return the value of a setting, `-` if this trial lacks it."""
        return as_setting(self.values[name]) if name in self.values else "-"


def finish_trial(
    study: "Study",
    trial: "Trial",
    values: Mapping[str, Any],
    outcome: Outcome,
    metric: str,
) -> None:
    """Write the outcome of a trial into the study."""
    from optuna.trial import TrialState

    fields = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(outcome).items()
    }
    trial.set_user_attr(_VALUES, dict(values))
    trial.set_user_attr(_ATTRIBUTE, fields)
    if outcome.state == "complete":
        study.tell(trial, outcome.value(metric))
    else:
        is_pruned = outcome.state == "pruned"
        study.tell(trial, state=TrialState.PRUNED if is_pruned else TrialState.FAIL)


def finished_trials(study: "Study") -> list[FinishedTrial]:
    """Return the finished trials in order of their numbers."""
    return [
        FinishedTrial(
            trial.number,
            trial.user_attrs.get(_VALUES, trial.params),
            _outcome_of(trial),
            trial.intermediate_values,
        )
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished()
    ]


def best_of(trials: list[FinishedTrial], metric: str) -> FinishedTrial | None:
    """Return the best complete trial, the first of equals; `None` without any."""
    complete = [trial for trial in trials if trial.outcome.state == "complete"]
    sign = -1 if metric == "auc" else 1
    return min(
        complete, key=lambda trial: sign * trial.outcome.value(metric), default=None
    )


def _outcome_of(trial: "FrozenTrial") -> Outcome:
    fields = trial.user_attrs.get(_ATTRIBUTE)
    if fields is None:
        return Outcome.failed("its outcome was not written")
    undefined = {name: math.nan for name in ("log_loss", "auc") if fields[name] is None}
    return Outcome(**{**fields, **undefined})
