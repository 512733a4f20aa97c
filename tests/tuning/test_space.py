from types import SimpleNamespace

import pytest

from tfdlrm.base.errors import InputError
from tfdlrm.config import (
    DCNV2Config,
    DLRMConfig,
    EarlyStoppingConfig,
    OptimizerConfig,
    TrainConfig,
)
from tfdlrm.config.plain_settings import train_config_of
from tfdlrm.config.schedules import CosineConfig
from tfdlrm.tuning.best_settings import chosen_settings
from tfdlrm.tuning.dimensions import Choices, Range
from tfdlrm.tuning.space import Space
from tfdlrm.tuning.space_check import check_space
from tfdlrm.tuning.trial_settings import trial_settings


def read(tmp_path, text, base=None):
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return Space.read(file, base or TrainConfig())


class FirstValues:
    """Stands for a trial that gets the first value of each setting."""

    def suggest_float(self, name, low, high, step=None, log=False):
        return low

    suggest_int = suggest_float

    def suggest_categorical(self, name, choices):
        return choices[0]


def test_settings_are_named_with_dots_or_in_sections(tmp_path):
    dotted = read(
        tmp_path,
        "optimizer.learning_rate: {low: 1e-4, high: 1e-1, log: true}\n"
        "model.top_mlp_units: [[64], [128, 64]]\n",
    )
    nested = read(
        tmp_path,
        "optimizer: {learning_rate: {low: 1.0e-4, high: 0.1, log: true}}\n"
        "model: {top_mlp_units: [[64], [128, 64]]}\n",
    )
    assert dotted.dimensions == nested.dimensions
    rate = Range(1e-4, 0.1, step=None, log=True, is_whole=False)
    assert dotted.dimensions["optimizer.learning_rate"] == rate
    assert dotted.dimensions["model.top_mlp_units"] == Choices(([64], [128, 64]))


def test_numbers_are_whole_where_the_setting_is(tmp_path):
    space = read(
        tmp_path,
        "epochs: {low: 1, high: 9, step: 4}\nmodel.dropout: {low: 0, high: 1e-1}",
    )
    epochs, dropout = space.dimensions.values()
    assert (epochs.is_whole, dropout.is_whole) == (True, False)
    assert [type(bound) for bound in epochs.examples] == [int, int]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "no settings, expected one or more"),
        ("optimizer.learning_rat: [1]", "did you mean optimizer.learning_rate"),
        ("optimizer.lr: [1]", "did you mean optimizer.learning_rate"),
        ("model.rank: [4]", "it is one with model.name dcn_v2"),
        ("model: [dlrm]", "holds several settings, expected one such as model.name"),
        ("model.name: [[dlrm]]", r"the value \[dlrm\], expected one of"),
        ("optimizer.schedule: [linear]", "expected one of cosine, "),
        ("early_stopping: {low: 2, high: 1}", "patience.high is 1, expected more"),
        ("model.name: [dlrn]", "expected one of dlrm, .*did you mean dlrm"),
        ("epochs: 3", "expected a range such as .* or a list of values"),
        ("epochs: []", "expected one or more values"),
        ("epochs: [1, 2, 1]", "has the value 1 twice"),
        ("epochs: {low: 1}", "epochs has no high"),
        ("epochs: {low: 1, hihg: 2}", "no 'hihg'.*did you mean high"),
        ("epochs: {low: 1.5, high: 2}", "epochs.low is 1.5, expected a whole number"),
        ("epochs: {low: 2, high: 2}", "expected more than low, which is 2"),
        ("epochs: {low: 0, high: 2, log: true}", "expected > 0 with log"),
        ("epochs: {low: 1, high: 8, step: 3}", "a number of steps, such as 7"),
        ("epochs: {low: 1, high: 8, step: 0}", "step is 0, expected > 0"),
        ("epochs: {low: 1, high: 8, step: 2, log: true}", "expected none with log"),
        ("epochs: {low: 1, high: 2, log: maybe}", "expected true or false"),
        ("epochs: {low: null, high: 2}", "epochs.low is null"),
        ("model.dropout: {low: 0, high: .inf}", "expected a finite number"),
        ("optimizer.name: {low: 1, high: 2}", "each one of sgd, "),
        ("model.top_mlp_units: [64, 32]", r"expected lists.*\[\[64,32\]\]"),
        ("model.top_mlp_units: {low: 1, high: 2}", "is a range, expected a list"),
        ("data_dir: [a, b]", "not searched: all trials have the same rows"),
        ("prepare.min_frequency: [1, 2]", "prepare.min_frequency is not searched"),
        ("run_dir: [a]", "trials have directories of their own"),
        ("evaluations_per_epoch: [1, 2]", "compared by points"),
        ("trials: [1, 2]", "trials is no setting of tfdlrm.train"),
        ("- epochs", "holds no settings"),
        ("epochs: [1]\nepochs: [2]", "line 2: epochs is there twice"),
    ],
)
def test_what_is_no_space_is_refused_in_a_line_with_the_file(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as refused:
        read(tmp_path, text)
    assert str(tmp_path / "space.yaml") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml cannot be read"):
        Space.read(tmp_path / "none.yaml", TrainConfig())


def test_a_trial_has_the_settings_of_its_model_alone(tmp_path):
    text = (
        "model.rank: [4]\nmodel.bottom_mlp_units: [[8]]\nmodel.embedding_dim: [2]\n"
        "model.name: [{}]"
    )
    for name, own in (("dcn_v2, dlrm", "rank"), ("dlrm, dcn_v2", "bottom_mlp_units")):
        space = read(tmp_path, text.format(name))
        values = space.suggest(FirstValues())
        assert set(values) == {"model.name", "model.embedding_dim", f"model.{own}"}
        assert space.is_conditional


def test_sections_that_may_be_absent_are_chosen_with_their_settings(tmp_path):
    text = """
early_stopping.metric: [auc]
early_stopping: [null, 3]
optimizer:
  schedule: {name: [cosine, null], final_share: [0.25]}
  dense: {name: [null, adam], learning_rate: [0.125]}
"""
    space = read(tmp_path, text)
    trial = SimpleNamespace(suggest_categorical=lambda name, choices: choices[0])
    assert space.suggest(trial) == {
        "early_stopping.patience": None,
        "optimizer.schedule.name": "cosine",
        "optimizer.schedule.final_share": 0.25,
        "optimizer.dense.name": None,
    }
    trial = SimpleNamespace(suggest_categorical=lambda name, choices: choices[-1])
    values = space.suggest(trial)
    assert values == {
        "early_stopping.patience": 3,
        "early_stopping.metric": "auc",
        "optimizer.schedule.name": None,
        "optimizer.dense.name": "adam",
        "optimizer.dense.learning_rate": 0.125,
    }
    base = TrainConfig(optimizer=OptimizerConfig(schedule=CosineConfig()))
    config = train_config_of(trial_settings(base, values))
    assert config.early_stopping == EarlyStoppingConfig(3, "auc")
    assert config.optimizer.schedule is None
    assert config.optimizer.dense.learning_rate == 0.125
    settings = chosen_settings(base, values)
    assert settings["early_stopping"] == {"patience": 3, "metric": "auc"}
    assert train_config_of(settings) == config


def test_a_setting_that_no_trial_has_is_refused(tmp_path):
    for text, message in (
        ("early_stopping.metric: [auc]", "it is one with early_stopping.patience"),
        ("optimizer.schedule.factor: [0.5]", "with optimizer.schedule.name plateau"),
    ):
        with pytest.raises(InputError, match=message):
            read(tmp_path, text)
    space = read(tmp_path, "optimizer.dense.learning_rate: [0.5]")
    with pytest.raises(InputError, match="is a setting that no trial has"):
        check_space(space, TrainConfig(), lambda config: None)


def test_another_model_keeps_what_was_given_and_it_has_too():
    base = TrainConfig(model=DLRMConfig(embedding_dim=4, bottom_mlp_units=(8,)))
    settings = trial_settings(base, {"model.name": "dcn_v2", "model.rank": 2})
    assert train_config_of(settings).model == DCNV2Config(embedding_dim=4, rank=2)


def test_each_value_is_checked_by_the_settings_of_training(tmp_path):
    base = TrainConfig()
    for text, message in (
        ("model.dropout: [0.1, 1.5]", r"model\.dropout is 1\.5, expected in \[0, 1\)"),
        ("batch_size: {low: 0, high: 8}", "batch_size is 0, expected >= 1"),
        ("optimizer.name: [sgd, adam]", "did you mean lazy_adam"),
        ("epochs: [two]", "epochs is 'two', expected a whole number"),
    ):
        with pytest.raises(InputError, match=message):
            check_space(read(tmp_path, text, base), base, lambda config: None)


def test_values_that_exclude_each_other_are_no_impossible_ones(tmp_path):
    base = TrainConfig(optimizer=OptimizerConfig(decay_steps=10))
    text = (
        "optimizer.decay_start_step: [0, 20]\n"
        "optimizer.warm_up_steps: [0, 10]\n"  # not with a decay that starts at 0
    )
    accepted = []
    check_space(read(tmp_path, text, base), base, accepted.append)
    starts = {config.optimizer.decay_start_step for config in accepted}
    ends = {config.optimizer.warm_up_steps for config in accepted}
    assert (starts, ends) == ({0, 20}, {0, 10})


def test_columns_that_the_data_set_lacks_are_refused_before_training(tmp_path):
    def refuse(config):
        raise InputError("user is 'u', expected a categorical column")

    space = read(tmp_path, "epochs: [1]")
    with pytest.raises(InputError, match="user is 'u'"):
        check_space(space, TrainConfig(), refuse)
