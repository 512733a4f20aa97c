"""Schedules of a run: where they begin, and what reduces the learning rate."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfdlrm.config import PlateauConfig, ScheduleConfig
from tfdlrm.optimizers._parts import rates_of
from tfdlrm.optimizers.schedules import RunSchedule, WarmUpPlateauDecay
from tfdlrm.training.curves import CurvePoint, learning_rate_of, validation_points
from tfdlrm.training.distribution import of_all_workers


class Plateau:
    """Reduces the learning rate when validation stops getting better.

    How often it was reduced follows from the curve alone, which a checkpoint holds: a
    run that is resumed has the same rates.

    Args:
        model: The compiled model, whose schedules change.
        config: When to reduce the rate.
        points: The learning curves so far.
    """

    def __init__(
        self, model: keras.Model, config: PlateauConfig, points: Sequence[CurvePoint]
    ) -> None:
        self._model = model
        self._config = config
        self._number = num_reductions(points, config)
        reduce_rates(model.optimizer, self._number)

    def follow(self, points: Sequence[CurvePoint]) -> None:
        """Reduce the learning rate if the last points of the curves ask for it.

        With several workers, the first one has the validation points and decides.
        """
        number = num_reductions(points, self._config)
        number = of_all_workers(self._model.distribute_strategy, number)[0]
        if number == self._number:
            return
        self._number = number
        rate = learning_rate_of(self._model.optimizer)
        reduce_rates(self._model.optimizer, number)
        reduced_rate = learning_rate_of(self._model.optimizer)
        if points and points[-1].split == "validation" and reduced_rate < rate:
            print(
                f"\nLearning rate {reduced_rate:g} after step {points[-1].step:,}: "
                f"{self._reason()}"
            )

    def _reason(self) -> str:
        name, verb = "validation log loss", "fallen"
        if self._config.metric == "auc":
            name, verb = "validation AUC", "risen"
        patience = self._config.patience
        return f"{name} has not {verb} for {patience} point{'s'[: patience != 1]}"


def num_reductions(points: Sequence[CurvePoint], config: PlateauConfig) -> int:
    """Return how often the learning rate is reduced by these learning curves.

    Reference:
        `keras.callbacks.ReduceLROnPlateau`, without a cooldown.
    """
    number = num_waiting = 0
    best = float("inf")
    for point in validation_points(points):
        cost = point.cost(config.metric)
        if cost < best - config.min_delta:
            best, num_waiting = cost, 0
            continue
        num_waiting += 1
        if num_waiting == config.patience:
            number, num_waiting = number + 1, 0
    return number


def begin_schedules(optimizer: Any, first_step: int) -> None:
    """Let the schedules of an optimizer begin, before its training step is compiled.

    Args:
        optimizer: The optimizer of a compiled model.
        first_step: Steps that it had done when the run began.
    """
    for schedule in schedules_of(optimizer):
        schedule.first_step = first_step


def schedules_of(optimizer: Any) -> list[RunSchedule]:
    """Return the schedules of an optimizer's learning rates that begin with a run."""
    schedules = [part._learning_rate for part in rates_of(optimizer)]
    return [item for item in schedules if isinstance(item, RunSchedule)]


def reduce_rates(optimizer: Any, number: int) -> None:
    """Set how often the learning rates of an optimizer were reduced."""
    for schedule in schedules_of(optimizer):
        if isinstance(schedule, WarmUpPlateauDecay):
            schedule.num_reductions = number


def resume_schedules(
    optimizer: Any, config: ScheduleConfig | None, state: Mapping[str, Any]
) -> None:
    """Let the schedules of an optimizer go on where a checkpoint of their run is.

    Args:
        optimizer: The optimizer of a compiled model.
        config: The schedule of the run.
        state: The state of the checkpoint.
    """
    begin_schedules(optimizer, state.get("warm_start", {}).get("steps", 0))
    if isinstance(config, PlateauConfig):
        points = [CurvePoint.from_json(point) for point in state.get("points", [])]
        reduce_rates(optimizer, num_reductions(points, config))
