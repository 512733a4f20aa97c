"""Runs whose learning rate falls when validation stops getting better."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import yaml

from tests.support.small_runs import (
    STEPS_PER_EPOCH,
    assert_equal,
    config_for,
    small_model,
    train,
    train_until_killed,
)
from tfdlrm.base.errors import InputError
from tfdlrm.config import (
    CosineConfig,
    DenseOptimizerConfig,
    EarlyStoppingConfig,
    OptimizerConfig,
    PiecewiseConfig,
    PlateauConfig,
)
from tfdlrm.optimizers import LossScaleOptimizer
from tfdlrm.training import plateau
from tfdlrm.training.curves import CurvePoint
from tfdlrm.training.plateau import (
    Plateau,
    num_reductions,
    resume_schedules,
    schedules_of,
)
from tfdlrm.training.run_directory import RunDirectory
from tfdlrm.training.run_settings import write_settings

PLATEAU = OptimizerConfig(
    "adagrad", 0.3, schedule=PlateauConfig(factor=0.5, min_rate=0.05, warm_up_steps=5)
)


def points_of(values):
    return [
        CurvePoint(step, "validation", loss, 0.5, 1 - loss, 1.0)
        for step, loss in enumerate(values, 1)
    ]


def reductions_of_keras(values, config):
    """Return how often Keras' own callback reduces the rate after so many values."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    callback = keras.callbacks.ReduceLROnPlateau(
        monitor="loss" if config.metric == "log_loss" else "auc",
        mode="min" if config.metric == "log_loss" else "max",
        factor=0.5,
        patience=config.patience,
        min_delta=config.min_delta,
    )
    callback.set_model(model)
    callback.on_train_begin()
    numbers = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"loss": value, "auc": 1 - value})
        numbers.append(round(-np.log2(float(model.optimizer.learning_rate))))
    return numbers


@pytest.mark.parametrize("metric", ["log_loss", "auc"])
@pytest.mark.parametrize(("patience", "min_delta"), [(1, 0.0), (2, 0.0), (2, 0.05)])
def test_the_rate_is_reduced_when_keras_would(metric, patience, min_delta):
    config = PlateauConfig(metric=metric, patience=patience, min_delta=min_delta)
    values = np.random.default_rng(5).random(30) + np.linspace(0.6, 0, 30)
    actual = [num_reductions(points_of(values[:n]), config) for n in range(1, 31)]
    assert actual == reductions_of_keras(values, config)
    assert actual[-1] > 3


def rates_and_losses(run_dir):
    points = RunDirectory(run_dir).load_curves()
    rates = [point["learning_rate"] for point in points if point["split"] == "train"]
    return rates, [point for point in points if point["split"] == "validation"]


def test_the_curves_have_the_rate_of_the_next_step(tmp_path, capsys):
    train(tmp_path / "run", PLATEAU, epochs=4)
    rates, validation = rates_and_losses(tmp_path / "run")
    points = [CurvePoint.from_json(point) for point in validation]
    expected = [
        max(0.3 * 0.5 ** num_reductions(points[:n], PLATEAU.schedule), 0.05)
        for n in range(1, len(points) + 1)
    ]
    first_step = points[0].step
    assert first_step == 5  # at the end of the warm-up
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    num_changes = len(set(rates)) - 1 + (rates[0] < 0.3)
    assert num_changes >= 2
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if line.startswith("Learning rate")]
    assert len(told) == num_changes
    assert told[0].endswith("validation log loss has not fallen for 1 point")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, steps_per_execution):
    settings = {
        "optimizer": PLATEAU,
        "epochs": 4,
        "steps_per_execution": steps_per_execution,
        "early_stopping": EarlyStoppingConfig(4, "auc"),
    }
    weights, curves = train(tmp_path / "whole", **settings)
    train_until_killed(tmp_path / "killed", 25, **settings)
    resumed_weights, resumed_curves = train(tmp_path / "killed", **settings)
    assert resumed_curves == curves
    assert_equal(resumed_weights, weights)
    rates, _ = rates_and_losses(tmp_path / "killed")
    assert rates == rates_and_losses(tmp_path / "whole")[0]
    assert len(set(rates)) > 1


@pytest.mark.slow
def test_a_resumed_run_has_the_rate_of_its_curve(tmp_path):
    train(tmp_path / "whole", PLATEAU, epochs=3)
    rates, _ = rates_and_losses(tmp_path / "whole")
    train_until_killed(tmp_path / "killed", 23, PLATEAU, epochs=3)
    train(tmp_path / "killed", PLATEAU, epochs=3)
    assert rates_and_losses(tmp_path / "killed")[0] == rates
    assert rates[-2] < 0.3


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (PiecewiseConfig(epochs=(1, 1.5), factors=(0.5, 0.25)), [1, 0.5, 0.25, 0.25]),
        (CosineConfig(), [np.cos(np.pi * n / 36) ** 2 for n in (5, 9, 14, 18)]),
    ],
)
def test_a_schedule_in_epochs_is_that_of_the_run(schedule, expected, tmp_path):
    optimizer = OptimizerConfig("sgd", 0.2, schedule=schedule)
    train(tmp_path / "run", optimizer.in_steps(STEPS_PER_EPOCH, epochs=2))
    rates, _ = rates_and_losses(tmp_path / "run")
    np.testing.assert_allclose(rates, 0.2 * np.array(expected), rtol=1e-5, atol=1e-8)


def test_a_checkpoint_says_how_far_its_schedule_is():
    model = small_model(PLATEAU)
    model.optimizer.iterations.assign(107)
    losses = [0.5, 0.6, 0.4, 0.4]
    points = [vars(point) for point in points_of(losses)]
    state = {"points": points, "warm_start": {"steps": 100}}
    resume_schedules(model.optimizer, PLATEAU.schedule, state)
    (schedule,) = schedules_of(model.optimizer)
    assert (schedule.num_reductions, schedule.first_step) == (2, 100)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.3 / 4)


def test_the_schedule_of_a_scaled_loss_is_reached():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        optimizer = small_model(PLATEAU).optimizer
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(optimizer, LossScaleOptimizer)
    assert len(schedules_of(optimizer)) == 1


def test_both_optimizers_follow_the_validation_rows():
    dense = DenseOptimizerConfig("adam", 0.02)
    schedule = replace(PLATEAU.schedule, min_rate=0.0)
    model = small_model(replace(PLATEAU, dense=dense, schedule=schedule))
    Plateau(model, schedule, points_of([0.5, 0.6]))
    model.optimizer.tables.iterations.assign(9)
    model.optimizer.dense.iterations.assign(9)
    rates = [float(part.learning_rate) for part in model.optimizer.parts]
    assert rates == pytest.approx([0.15, 0.01])


def test_a_worker_without_validation_points_follows_the_first_one(monkeypatch):
    model = small_model(PLATEAU)
    follower = Plateau(model, PLATEAU.schedule, [])
    monkeypatch.setattr(plateau, "of_all_workers", lambda devices, number: [2, number])
    follower.follow([])
    (schedule,) = schedules_of(model.optimizer)
    assert schedule.num_reductions == 2


def test_an_undefined_auc_reduces_nothing(tmp_path):
    def ones(epoch, batch):
        from tests.support.small_runs import read

        return read(epoch, batch).map(lambda rows, label: (rows, 0 * label))

    schedule = PlateauConfig(metric="auc")
    message = "optimizer.schedule.metric is auc, but all validation rows .* label 0: "
    with pytest.raises(InputError, match=message):
        train(tmp_path / "r", OptimizerConfig(schedule=schedule), read=ones)


def test_an_unfinished_run_of_an_earlier_release_is_resumed(tmp_path):
    config = config_for(tmp_path / "run", early_stopping=3)
    with RunDirectory.opened(config) as run:
        settings = yaml.safe_load(run.config_file.read_text())
    assert settings["early_stopping"] == {"patience": 3, "metric": "log_loss"}
    settings["early_stopping"] = 3
    del settings["optimizer"]["schedule"], settings["baselines"]
    write_settings(run.path, yaml.safe_dump(settings))
    assert run.load_config().early_stopping == EarlyStoppingConfig(3)
    with RunDirectory.opened(config):
        pass
    settings["early_stopping"] = 3
    write_settings(run.path, yaml.safe_dump(settings))
    other = replace(config, early_stopping=EarlyStoppingConfig(3, "auc"))
    message = "early_stopping.metric: log_loss there, early_stopping.metric: auc now"
    with pytest.raises(InputError, match=message), RunDirectory.opened(other):
        pass
