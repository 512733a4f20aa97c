"""Sections of settings that may be absent, or of which there are several."""

import pytest

from tfdlrm.base.command_line import parse, to_yaml
from tfdlrm.base.errors import InputError
from tfdlrm.config import (
    CosineConfig,
    EarlyStoppingConfig,
    OptimizerConfig,
    PiecewiseConfig,
    PlateauConfig,
    TrainConfig,
)


def stopping_of(*argv):
    return parse(TrainConfig, "tfdlrm.train", argv).early_stopping


def schedule_of(*argv):
    return parse(TrainConfig, "tfdlrm.train", argv).optimizer.schedule


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("", None),
        ("--early_stopping null", None),
        ("--early_stopping=null", None),
        ("--early_stopping 3", EarlyStoppingConfig(3)),
        ("--early_stopping=3", EarlyStoppingConfig(3)),
        ("--early_stopping.patience 3", EarlyStoppingConfig(3)),
        (
            "--early_stopping.metric auc --early_stopping.patience 3",
            EarlyStoppingConfig(3, "auc"),
        ),
        (
            "--early_stopping 3 --early_stopping.metric=auc",
            EarlyStoppingConfig(3, "auc"),
        ),
        ("--early_stopping 3 --early_stopping 5", EarlyStoppingConfig(5)),
    ],
)
def test_a_plain_value_is_that_of_the_main_setting(argv, expected):
    assert stopping_of(*argv.split()) == expected


@pytest.mark.parametrize(
    ("text", "argv", "expected"),
    [
        ("early_stopping: 3", "", EarlyStoppingConfig(3)),
        ("early_stopping:", "", None),
        ("early_stopping: null", "--early_stopping 4", EarlyStoppingConfig(4)),
        (
            "early_stopping: {patience: 3, metric: auc}",
            "",
            EarlyStoppingConfig(3, "auc"),
        ),
        (
            "early_stopping: {patience: 3, metric: auc}",
            "--early_stopping 9",
            EarlyStoppingConfig(9, "auc"),
        ),
        ("early_stopping: {patience: 3, metric: auc}", "--early_stopping null", None),
        ("early_stopping: {patience: null, metric: auc}", "", None),
        (
            "early_stopping: 3",
            "--early_stopping.metric auc",
            EarlyStoppingConfig(3, "auc"),
        ),
    ],
)
def test_a_file_and_options_go_together(text, argv, expected, tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(f"epochs: 7\n{text}\n")
    config = parse(TrainConfig, "m", ["--config", str(path), *argv.split()])
    assert (config.epochs, config.early_stopping) == (7, expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model.name: mlp", "`model: {name: …}`"),
        ("early_stopping.patience: 2", "`early_stopping: {patience: …}`"),
        ("optimizer.schedule: cosine", "`optimizer: {schedule: …}`"),
        (
            "optimizer: {schedule.name: cosine}",
            "`optimizer: {schedule: {name: …}}`",
        ),
    ],
)
def test_a_dotted_key_that_would_choose_a_section_is_refused(text, message, tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=f"expected sections there: {message}"):
        parse(TrainConfig, "m", ["--config", str(path)])


@pytest.mark.parametrize(
    "text",
    [
        "early_stopping: 3\noptimizer: {learning_rate: 1e-3, name: sgd}\n"
        "run_dir: '07'\n",
        "optimizer: {schedule: null, learning_rate: 1e-3, name: sgd}\nrun_dir: '07'\n"
        "early_stopping: {patience: 3}",
        "run_dir: '07'  # of July\noptimizer:\n  name: sgd\n  schedule:\n"
        "  learning_rate: 1e-3\nearly_stopping: !!int '3'\n",
    ],
)
def test_other_values_of_a_file_keep_their_spelling(text, tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    config = parse(TrainConfig, "m", ["--config", str(path)])
    assert config.optimizer == OptimizerConfig("sgd", 0.001)
    assert config.early_stopping == EarlyStoppingConfig(3)
    assert str(config.run_dir) == "07"


def test_settings_that_stand_in_place_of_a_file_are_completed():
    assert stopping_of("--config", "{early_stopping: 3}") == EarlyStoppingConfig(3)
    assert schedule_of("--config={optimizer: {schedule: cosine}}") == CosineConfig()


def test_the_last_file_decides(tmp_path):
    (tmp_path / "a.yaml").write_text("early_stopping: {patience: 3, metric: auc}")
    (tmp_path / "b.yaml").write_text("early_stopping: null")
    files = [f"--config={tmp_path / name}" for name in ("a.yaml", "b.yaml")]
    assert stopping_of(*files) is None
    assert stopping_of(*reversed(files)) == EarlyStoppingConfig(3, "auc")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("--optimizer.schedule cosine", CosineConfig()),
        (
            "--optimizer.schedule.name plateau --optimizer.schedule.metric auc",
            PlateauConfig(metric="auc"),
        ),
        (
            "--optimizer.schedule.steps 4,8 --optimizer.schedule.factors 0.5,0.1 "
            "--optimizer.schedule.name piecewise --optimizer.learning_rate 0.2",
            PiecewiseConfig(steps=(4, 8), factors=(0.5, 0.1)),
        ),
    ],
)
def test_one_of_several_is_chosen_by_its_name(argv, expected):
    assert schedule_of(*argv.split()) == expected


@pytest.mark.parametrize(
    "argv",
    [
        "",
        "--early_stopping 3",
        "--early_stopping 3 --early_stopping.metric auc --optimizer.schedule cosine",
        "--optimizer.schedule.name piecewise --optimizer.schedule.epochs 1,2.5 "
        "--optimizer.schedule.factors 0.1,0.01 --optimizer.name sgd",
        "--optimizer.schedule plateau --model.name dcn_v2 --model.rank 3",
    ],
)
def test_settings_that_are_written_are_read_back(argv, tmp_path):
    config = parse(TrainConfig, "m", argv.split())
    path = tmp_path / "settings.yaml"
    path.write_text(to_yaml(config))
    assert parse(TrainConfig, "m", ["--config", str(path)]) == config


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            "--early_stopping.metric auc",
            "early_stopping.metric is a setting with early_stopping.patience, which is "
            "missing: expected a whole number for it",
        ),
        (
            "--early_stopping null --early_stopping.metric auc",
            "early_stopping.metric is a setting with early_stopping.patience",
        ),
        (
            "--early_stopping.patence 3",
            "early_stopping.patence is no setting; did you mean early_stopping.pa",
        ),
        (
            "--early_stopping 3 --early_stopping.metrc auc",
            "did you mean --early_stopping.metric",
        ),
        ("--early_stopping", "--early_stopping has no value, expected a whole number"),
        (
            "--early_stopping --epochs 3",
            "--early_stopping has no value, expected a whole number or null",
        ),
        ("--early_stopping 0", "early_stopping.patience is 0, expected >= 1"),
        ("--early_stopping 2.5", "early_stopping is '2.5', expected a whole number or"),
        (
            "--early_stopping 3 --early_stopping.metric acu",
            "early_stopping.metric is 'acu', expected one of log_loss, auc",
        ),
        (
            "--optimizer.schedule cosin",
            "optimizer.schedule.name is 'cosin', expected one of cosine, piecewise, "
            "plateau; did you mean cosine",
        ),
        (
            "--optimizer.schedule.patience 3",
            "optimizer.schedule.patience is a setting with optimizer.schedule.name, "
            "which is missing: expected one of cosine, piecewise, plateau for it",
        ),
        (
            "--optimizer.schedule cosine --optimizer.schedule.patience 3",
            "it is a setting with --optimizer.schedule.name plateau",
        ),
        (
            "--optimizer.schedule cosine --optimizer.schedule.steps 0",
            "optimizer.schedule.steps is 0, expected >= 1",
        ),
        (
            "--optimizer.schedule plateau --optimizer.schedule.min_rate 1",
            "optimizer.schedule.min_rate is 1.0, expected <= learning_rate, which is "
            "0.01",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(argv, message):
    with pytest.raises(InputError) as refused:
        parse(TrainConfig, "tfdlrm.train", argv.split())
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_wrong_key_of_an_absent_section_is_named(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("optimizer: {schedule: {nam: cosine}}")
    message = "optimizer.schedule.nam is no setting; did you mean optimizer.schedule.n"
    with pytest.raises(InputError, match=message):
        parse(TrainConfig, "tfdlrm.train", ["--config", str(path)])
