import math
from types import SimpleNamespace

import optuna
import pytest

from tfdlrm.config import TrainConfig
from tfdlrm.training.curves import CurvePoint
from tfdlrm.training.watched_points import TrainingEndedError
from tfdlrm.tuning.outcome import Outcome
from tfdlrm.tuning.watcher import Watcher

NUM_ROWS = 800


@pytest.fixture
def study():
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))


def watch(study, losses, metric="log_loss", prunes=True, **settings):
    """Watch a curve whose values are `losses`, until its end."""
    settings = {"batch_size": 100, "evaluations_per_epoch": 8, **settings}
    config = TrainConfig(**settings)
    trial = study.ask()
    watcher = Watcher(trial, config, NUM_ROWS, metric, prunes)
    points = []
    for step, loss in enumerate(losses, start=1):
        points.append(CurvePoint(step, "train", 0.1, 0.9, 0.9, 1.0))
        points.append(CurvePoint(step, "validation", loss, 0.5, 1 - loss, 1.0))
        try:
            watcher.watch(points)
        except TrainingEndedError:
            break
    outcome = watcher.outcome()
    if outcome.state == "complete":
        study.tell(trial, outcome.value(metric))
    return outcome, step, trial


def test_a_trial_is_judged_by_its_last_point(study):
    outcome, steps, trial = watch(study, [0.6, 0.5, 0.4, 0.3, 0.4, 0.5, 0.6, 0.7, 9])
    assert steps == 8  # of one epoch
    assert outcome == Outcome("complete", log_loss=0.7, auc=pytest.approx(0.3), step=8)
    stored = study.trials[trial.number].intermediate_values
    assert stored == dict(enumerate([0.6, 0.5, 0.4, 0.3, 0.4, 0.5, 0.6, 0.7], start=1))


def test_with_early_stopping_by_the_point_whose_weights_are_kept(study):
    losses = [0.6, 0.3, 0.4, 0.5, 0.2]
    outcome, steps, _ = watch(study, losses, early_stopping=2)
    assert (steps, outcome.log_loss, outcome.step) == (4, 0.3, 2)


def test_a_trial_worse_than_the_median_is_pruned_after_its_first_quarter(study):
    for _ in range(5):
        watch(study, [0.5] * 8)
    outcome, steps, _ = watch(study, [0.9] * 8)
    assert (outcome.state, steps, outcome.log_loss) == ("pruned", 2, 0.9)
    outcome, steps, _ = watch(study, [0.9] * 8, prunes=False)
    assert (outcome.state, steps) == ("complete", 8)
    assert watch(study, [0.4] * 8)[0].state == "complete"


def test_an_auc_is_pruned_below_the_median():
    study = optuna.create_study(direction="maximize")
    for _ in range(5):
        watch(study, [0.5] * 8, "auc")
    outcome, _, _ = watch(study, [0.6] * 8, "auc")
    assert (outcome.state, outcome.auc) == ("pruned", pytest.approx(0.4))
    assert watch(study, [0.4] * 8, "auc")[0].state == "complete"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_fails_the_trial_at_once(study, value):
    outcome, steps, _ = watch(study, [0.5, value, 0.5], early_stopping=2)
    assert (outcome.state, steps) == ("failed", 2)
    assert f"log_loss of the validation rows is {value} at step 2" in outcome.reason


def test_a_resumed_trial_reports_no_point_twice(study):
    trial = study.ask()
    config = TrainConfig(batch_size=100, evaluations_per_epoch=8)
    points = [CurvePoint(s, "validation", s / 10, 0, 0, 0) for s in range(1, 5)]
    Watcher(trial, config, NUM_ROWS, "log_loss", True).watch(points[:3])
    reported = []
    trial.report = lambda value, step: reported.append((step, value))
    Watcher(trial, config, NUM_ROWS, "log_loss", True).watch(points)
    assert reported == [(4, 0.4)]


def test_points_of_any_batch_size_have_positions_of_their_own():
    for batch_size in (1, 7, 100, 113, 401, 900):
        for per_epoch in (1, 3, 10):
            config = TrainConfig(
                batch_size=batch_size, evaluations_per_epoch=per_epoch, epochs=2
            )
            watcher = Watcher(SimpleNamespace(), config, NUM_ROWS, "auc", True)
            num_steps = -(-NUM_ROWS // batch_size)
            every = -(-num_steps // per_epoch)
            steps = [
                epoch * num_steps + step
                for epoch in range(2)
                for step in sorted({*range(every, num_steps, every), num_steps})
            ]
            positions = [
                watcher._position(CurvePoint(step, "validation", 0, 0, 0, 0))
                for step in steps
            ]
            assert positions == sorted(set(positions))
            assert positions[-1] == 2 * per_epoch
            assert all(position >= 1 for position in positions)
