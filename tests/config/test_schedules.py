"""Settings of schedules: lengths in steps and in epochs, and what is refused."""

import pytest

from tfdlrm.base.errors import InputError
from tfdlrm.config import (
    CosineConfig,
    EarlyStoppingConfig,
    OptimizerConfig,
    PiecewiseConfig,
    PlateauConfig,
    TrainConfig,
)


def in_steps(schedule, steps_per_epoch=10, epochs=3):
    config = OptimizerConfig(schedule=schedule)
    return config.in_steps(steps_per_epoch, epochs).schedule


def test_a_cosine_without_steps_ends_with_the_last_epoch():
    assert in_steps(CosineConfig(warm_up_steps=4)).steps == 26
    assert in_steps(CosineConfig(steps=7, warm_up_steps=4)).steps == 7


def test_ends_of_epochs_are_steps():
    schedule = PiecewiseConfig(epochs=(1, 2.5), factors=(0.1, 0.01))
    expected = PiecewiseConfig(steps=(10, 25), factors=(0.1, 0.01))
    assert in_steps(schedule) == expected
    assert in_steps(expected) is expected


def test_without_a_schedule_there_is_nothing_to_convert():
    config = OptimizerConfig(warm_up_steps=3)
    assert config.in_steps(10, 3) is config


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (CosineConfig(warm_up_steps=30), "warm_up_steps is 30, expected less than 30"),
        (
            PiecewiseConfig(epochs=(1, 1.01), factors=(1, 2)),
            "epochs are steps 10, 10 of epochs of 10 steps, expected different steps",
        ),
    ],
)
def test_what_does_not_fit_into_the_run_is_refused(schedule, message):
    with pytest.raises(InputError, match=f"^optimizer.schedule.{message}"):
        in_steps(schedule)


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (lambda: CosineConfig(steps=0), "steps is 0, expected >= 1"),
        (lambda: CosineConfig(final_share=1.0), r"final_share is 1.0, expected in \[0"),
        (lambda: CosineConfig(warm_up_steps=-1), "warm_up_steps is -1, expected >= 0"),
        (lambda: PiecewiseConfig(), "steps and epochs: neither is given"),
        (
            lambda: PiecewiseConfig(factors=(0.1,), steps=(5,), epochs=(1.0,)),
            "steps and epochs: both are given",
        ),
        (
            lambda: PiecewiseConfig(factors=(0.1,), steps=(5, 9)),
            "factors is .0.1., expected 2 positive numbers, one for each of steps",
        ),
        (
            lambda: PiecewiseConfig(factors=(0.1, 0.2), steps=(9, 5)),
            "steps is .9,5., expected positive numbers in ascending order",
        ),
        (
            lambda: PiecewiseConfig(factors=(-0.1,), steps=(9,)),
            "factors is .-0.1., expected 1 positive",
        ),
        (lambda: PlateauConfig(factor=1.0), r"factor is 1.0, expected in \(0, 1\)"),
        (lambda: PlateauConfig(patience=0), "patience is 0, expected >= 1"),
        (lambda: PlateauConfig(min_delta=-1.0), "min_delta is -1.0, expected >= 0"),
        (lambda: PlateauConfig(metric="loss"), "metric is 'loss', expected 'log_loss'"),
        (
            lambda: OptimizerConfig(warm_up_steps=3, schedule=CosineConfig()),
            "warm_up_steps is 3, expected 0 with a schedule: cosine has its own",
        ),
        (
            lambda: OptimizerConfig(decay_steps=3, schedule=PlateauConfig()),
            "decay_steps is 3, expected 0 with a schedule: plateau has its own",
        ),
        (
            lambda: OptimizerConfig("sgd", 0.1, schedule=PlateauConfig(min_rate=0.2)),
            "schedule.min_rate is 0.2, expected <= learning_rate, which is 0.1",
        ),
        (lambda: EarlyStoppingConfig(0), "patience is 0, expected >= 1"),
        (lambda: TrainConfig(early_stopping=0), "early_stopping is 0, expected null"),
        (
            lambda: TrainConfig(early_stopping="3"),
            "early_stopping is '3', expected a whole number, EarlyStoppingConfig",
        ),
        (lambda: TrainConfig(early_stopping=True), "early_stopping is True, expected"),
    ],
)
def test_settings_that_make_no_sense_are_refused(create, message):
    with pytest.raises(InputError, match=f"^{message}"):
        create()


def test_a_whole_number_is_the_patience_of_early_stopping():
    assert TrainConfig(early_stopping=3).early_stopping == EarlyStoppingConfig(3)
    assert EarlyStoppingConfig(3).metric == "log_loss"
    assert TrainConfig().early_stopping is None
