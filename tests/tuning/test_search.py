import csv
from contextlib import ExitStack
from dataclasses import replace

import optuna
import pytest

from tfdlrm.base import directories
from tfdlrm.base.command_line import parse
from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig
from tfdlrm.config.models import DLRMConfig
from tfdlrm.config.tuning import TuneConfig
from tfdlrm.tuning import search as searching
from tfdlrm.tuning import study as studies
from tfdlrm.tuning.outcome import Outcome
from tfdlrm.tuning.search import search
from tfdlrm.tuning.study import directory_of

SPACE = """
optimizer.learning_rate: {low: 1e-3, high: 1, log: true}
model.top_mlp_units: [[8], [16, 8]]
batch_size: {low: 32, high: 64}
"""


@pytest.fixture(autouse=True)
def unchecked(monkeypatch):
    """Leave out the check of the space, which has tests of its own."""
    monkeypatch.setattr(searching, "check_space", lambda *arguments: None)


@pytest.fixture
def config(data_dir, tmp_path):
    space = tmp_path / "space.yaml"
    space.write_text(SPACE)
    model = DLRMConfig(embedding_dim=4, bottom_mlp_units=(8,))
    output = tmp_path / "tuned"
    return TuneConfig(data_dir, space=space, trials=3, output=output, model=model)


class Training:
    """Stands for the training of trials, whose loss follows from the learning rate."""

    def __init__(self, monkeypatch, at=lambda number, rate: None):
        self.done = []
        self.at = at
        monkeypatch.setattr(searching, "run_trial", self)

    def __call__(self, trial, config, rows, metric, prunes, directory):
        rate = config.optimizer.learning_rate
        outcome = self.at(trial.number, rate)
        self.done.append((trial.number, rate, config.model.top_mlp_units))
        return outcome or Outcome("complete", 0.3 + rate, 0.8 - rate / 10, 7, 1.0)


def rows_of(config):
    with (config.output / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_best_trial_becomes_a_file_of_settings(config, monkeypatch, capsys):
    training = Training(monkeypatch)
    best = search(config)
    number, rate, units = min(training.done, key=lambda trial: trial[1])
    assert (best.number, best.outcome.log_loss) == (number, 0.3 + rate)
    file = config.output / "best.yaml"
    settings = parse(TrainConfig, "tfdlrm.train", ["--config", str(file)])
    assert settings == replace(
        config.training,
        model=replace(config.model, top_mlp_units=units),
        optimizer=replace(config.optimizer, learning_rate=rate),
        batch_size=settings.batch_size,
    )
    assert f"trial {number}, log loss {0.3 + rate:.4f}" in file.read_text()
    assert f"tfdlrm.train --config {file}" in capsys.readouterr().out
    rows = rows_of(config)
    assert [float(row["optimizer.learning_rate"]) for row in rows] == [
        rate for _, rate, _ in training.done
    ]
    assert float(rows[number]["log_loss"]) == best.outcome.log_loss
    report = (config.output / "report.md").read_text()
    assert "3 trials, 3 complete" in report
    assert f"is trial {number};" in report


@pytest.mark.slow
def test_an_auc_is_searched_for_its_highest(config, monkeypatch):
    training = Training(
        monkeypatch, lambda number, rate: Outcome("complete", 0.5, rate / 2, 1)
    )
    best = search(replace(config, metric="auc"))
    assert best.outcome.auc == max(rate for _, rate, _ in training.done) / 2


def test_a_killed_search_has_the_trials_that_it_would_have_had(
    config, monkeypatch, tmp_path
):
    whole = Training(monkeypatch)
    search(replace(config, output=tmp_path / "whole"))

    def stop(number, rate):
        if number == 2 and len(killed.done) == 2:
            raise KeyboardInterrupt

    killed = Training(monkeypatch, stop)
    with pytest.raises(KeyboardInterrupt):
        search(config)
    killed.done.append(None)
    search(config)
    assert [*killed.done[:2], *killed.done[3:]] == whole.done
    search(config)
    assert len(killed.done) == 4  # nothing was left
    search(replace(config, trials=4))
    assert killed.done[-1][0] == 3


def test_failed_trials_count_and_the_search_goes_on(config, monkeypatch, capsys):
    def fail(number, rate):
        return Outcome.failed("the loss became nan at step 3") if number < 2 else None

    Training(monkeypatch, fail)
    assert search(config).number >= 2
    states = [row["state"] for row in rows_of(config)]
    assert states == ["failed", "failed", "complete"]
    assert rows_of(config)[0]["log_loss"] == ""
    assert "the loss became nan at step 3" in capsys.readouterr().out


@pytest.mark.slow
def test_settings_that_exclude_each_other_fail_a_trial(config, monkeypatch):
    def refuse(settings):
        if settings["model"]["top_mlp_units"] == [8]:
            raise InputError("top_mlp_units is [8], expected others")
        return real(settings)

    real = searching.train_config_of
    monkeypatch.setattr(searching, "train_config_of", refuse)
    Training(monkeypatch)
    search(replace(config, trials=6))
    states = {row["model.top_mlp_units"]: row["state"] for row in rows_of(config)}
    assert states == {"[8]": "failed", "[16,8]": "complete"}


@pytest.mark.slow
def test_a_search_without_any_result_ends_with_the_reason(config, monkeypatch):
    Training(monkeypatch, lambda number, rate: Outcome.failed("the loss became nan"))
    with pytest.raises(InputError, match=r"none of 3 trials .*became nan"):
        search(config)
    assert not (config.output / "best.yaml").exists()


@pytest.mark.slow
def test_pruned_trials_are_never_the_best(config, monkeypatch):
    def prune(number, rate):
        return Outcome("pruned", 0.01, 0.99, 1) if number == 0 else None

    Training(monkeypatch, prune)
    assert search(config).number > 0
    assert rows_of(config)[0]["state"] == "pruned"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 8}, "batch_size: 256 there, batch_size: 8 now"),
        ({"metric": "auc"}, "metric: log_loss there, metric: auc now"),
        ({"seed": 1}, "seed: 0 there, seed: 1 now"),
    ],
)
@pytest.mark.slow_variants
def test_a_search_with_other_settings_is_not_gone_on_with(
    config, monkeypatch, changes, message
):
    Training(monkeypatch)
    search(replace(config, trials=1))
    with pytest.raises(InputError, match=message):
        search(replace(config, **changes))
    config.space.write_text("epochs: [1, 2]")
    with pytest.raises(InputError, match="of a search with other settings: space"):
        search(config)


@pytest.mark.slow
def test_other_rows_are_another_search(config, monkeypatch):
    Training(monkeypatch)
    search(replace(config, trials=1))
    monkeypatch.setattr("tfdlrm.data.schema.FeatureSchema.fingerprint", "another")
    with pytest.raises(InputError, match="data_set: "):
        search(config)


def test_a_trial_of_a_living_process_is_left_to_it(config, monkeypatch):
    training = Training(monkeypatch)
    search(replace(config, trials=1))
    url = f"sqlite:///{config.output / 'study.db'}"
    study = optuna.load_study(study_name="tune", storage=url)
    other = study.ask()
    with ExitStack() as living:
        studies._hold(directory_of(config.output, other.number), living)
        search(replace(config, trials=3))
        assert [number for number, *_ in training.done] == [0, 2]
    search(replace(config, trials=3))  # it is gone
    assert [number for number, *_ in training.done] == [0, 2, 1]


@pytest.mark.parametrize("name", ["journal.log", "sqlite:///{}/other.db"])
@pytest.mark.slow_variants
def test_processes_with_other_outputs_share_a_storage(config, monkeypatch, name):
    training = Training(monkeypatch)
    folder = config.space.parent
    storage = name.format(folder) if ":" in name else str(folder / name)
    search(replace(config, trials=2, storage=storage))
    machine = folder / "another" / "tuned"  # as it is called on another machine
    search(replace(config, storage=storage, output=machine))
    assert [number for number, *_ in training.done] == [0, 1, 2]
    config = replace(config, output=machine)
    assert len(rows_of(config)) == 3


def test_a_storage_that_cannot_be_used_is_refused(config):
    for storage in ("nosuch://host/tune", f"sqlite:///{config.output}/no/no.db"):
        with pytest.raises(InputError, match=r"storage .* cannot be used \(.*\): exp"):
            search(replace(config, storage=storage))


def test_without_optuna_a_line_says_how_to_install_it(config, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(InputError, match="pip install -r requirements-tune"):
        search(config)
    assert not config.output.exists()


def test_a_data_set_or_a_run_takes_no_search(config, data_dir, tmp_path):
    (tmp_path / "config.yaml").touch()
    for output in (data_dir, tmp_path):
        with pytest.raises(InputError, match=r"has a .*: it is a data set, a run"):
            search(replace(config, output=output))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"space": None}, "space is missing: give --space"),
        ({"data_dir": None}, "needs a prepared data set"),
        ({"raw": "day.tsv"}, "needs a prepared data set"),
        ({"trials": 0}, "trials is 0, expected >= 1"),
        ({"metric": "rmse"}, "metric is 'rmse', expected 'log_loss' or 'auc'"),
        ({"output": "s3://bucket/tuned"}, "output is s3://.*on this machine"),
        ({"profile_steps": (1, 2)}, "profile_steps is .*none in a search"),
    ],
)
def test_settings_that_make_no_search_are_refused(config, settings, message):
    with pytest.raises(InputError, match=message):
        replace(config, **settings)


@pytest.mark.slow
def test_weights_of_trials_killed_at_their_end_are_removed(config, monkeypatch):
    Training(monkeypatch)
    search(replace(config, trials=1))
    weights = directory_of(config.output, 0) / "run" / "checkpoints"
    weights.mkdir(parents=True)
    search(replace(config, trials=1))
    assert not weights.exists()
    with directories.only_process(config.output, "held"):
        pass  # no lock is left
