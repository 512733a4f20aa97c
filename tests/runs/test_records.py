"""What a run writes down is what happened in it."""

import json
import shutil
from dataclasses import replace

import pytest
import yaml

from pipelines.prepare import prepare
from tests.support.raw_rows import make_rows, write_rows
from tfdlrm.config import OptimizerConfig, PrepareConfig, TrainConfig
from tfdlrm.config.models import LogisticRegressionConfig
from tfdlrm.export import ExportCommand, export
from tfdlrm.exporting import saved_model
from tfdlrm.train import train
from tfdlrm.training.run_directory import RunDirectory

PREPARED = PrepareConfig(min_frequency=5, days=4, validation_days=1)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that early stopping ends, with settings of preparing that are not used."""
    root = tmp_path_factory.mktemp("records")
    log = write_rows(root / "log.tsv", make_rows(900))
    prepare([log], root / "data", PREPARED)
    config = TrainConfig(
        data_dir=root / "data",
        prepare=PrepareConfig(min_frequency=7, days=9),
        model=LogisticRegressionConfig(),
        optimizer=OptimizerConfig("adagrad", 1.0),
        batch_size=32,
        epochs=50,
        evaluations_per_epoch=3,
        early_stopping=2,
        run_dir=root / "run",
    )

    def write_card(model, schema, data_dir, export_dir, card, *rest, **options):
        card.write(root / "card.json", model, schema, "m", 1, {})
        return export_dir / "1"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "export_model", write_card)
        train(config)
        yield config, json.loads((root / "card.json").read_text())


def test_the_report_has_the_steps_that_were_done(stopped):
    config, _ = stopped
    run = RunDirectory(config.run_dir)
    curve = [point for point in run.load_curves() if point["split"] == "validation"]
    last, best = curve[-1]["step"], min(curve, key=lambda point: point["loss"])["step"]
    steps_per_epoch = -(-563 // 32)
    assert best < last < 50 * steps_per_epoch
    report = (config.run_dir / "report.md").read_text()
    assert f" of 50 epochs of 563 rows, batch size 32: {last} of 900 steps" in report
    assert "ended by early stopping" in report
    assert f"- weights: of step {best}, of the lowest validation log loss" in report
    summary = run.load_summary()
    assert (summary["steps"], summary["kept_step"]) == (last, best)
    assert summary["epochs"] == pytest.approx(last / steps_per_epoch, abs=1e-4)


def test_the_card_has_the_steps_that_were_done(stopped):
    config, card = stopped
    summary = RunDirectory(config.run_dir).load_summary()
    names = ("steps", "epochs", "ended_by", "kept_step", "kept_by")
    assert card["training"] == {name: summary[name] for name in names}
    assert card["origin"]["step"] == summary["steps"]


def test_settings_of_preparing_are_those_of_the_data_set(stopped):
    config, card = stopped
    settings = yaml.safe_load((config.run_dir / "config.yaml").read_text())["prepare"]
    assert settings == card["config"]["prepare"]
    assert (settings["min_frequency"], settings["days"]) == (5, 4)
    # Settings that change nothing in a data set are not among them.
    assert "memory_budget" not in settings
    loaded = RunDirectory(config.run_dir).load_config()
    assert loaded.prepare == PREPARED


def test_a_run_says_where_it_exports(stopped):
    config, _ = stopped
    settings = yaml.safe_load((config.run_dir / "config.yaml").read_text())
    assert settings["export_dir"] == "saved_models/run"


def test_an_export_says_whose_weights_it_takes(stopped, capsys):
    config, card = stopped
    capsys.readouterr()
    version = export(ExportCommand(config.run_dir))
    assert str(version) == "saved_models/run/1"
    printed = capsys.readouterr().out
    assert (
        f"run: the weights of step {card['training']['kept_step']}, of the" in printed
    )
    again = json.loads((config.run_dir.parent / "card.json").read_text())
    for name in ("training", "metrics", "config"):
        assert again[name] == card[name]


def test_a_run_of_an_earlier_release_is_exported_where_it_was(stopped, tmp_path):
    config, _ = stopped
    shutil.copytree(config.run_dir, tmp_path / "old")
    path = tmp_path / "old" / "config.yaml"
    settings = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**settings, "export_dir": None}))
    (tmp_path / "old" / "settings.json").unlink()
    version = export(ExportCommand(tmp_path / "old"))
    assert str(version) == "saved_models/run/1"  # as its summary says


def test_settings_that_are_given_and_not_used_are_named(stopped, tmp_path, capsys):
    config, _ = stopped
    given = PrepareConfig(min_frequency=5, days=9)
    with pytest.raises(ValueError, match="is in use already"):
        train(replace(config, prepare=given))
    other = replace(config, prepare=given, run_dir=tmp_path / "new", init_from=tmp_path)
    with pytest.raises(ValueError, match="holds no weights"):
        train(other)
    assert "not used are prepare.days 9\n" in capsys.readouterr().out
