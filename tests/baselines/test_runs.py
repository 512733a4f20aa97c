"""Simple models next to a run, in its report, its model and `tfdlrm.evaluate`."""

import json
from dataclasses import replace

import pytest

from tfdlrm.baselines.fitted import Baselines
from tfdlrm.baselines.measures import as_json, measure_baselines
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.evaluate import EvaluateCommand, evaluate_model
from tfdlrm.runs import simple_models
from tfdlrm.train import train

SHOW = simple_models.show_simple_models


@pytest.fixture(scope="module")
def with_baselines(small_config, tmp_path_factory):
    """Return the settings of a run, and the version that it exported."""
    directory = tmp_path_factory.mktemp("with_baselines")
    config = replace(
        small_config, run_dir=directory / "run", export_dir=directory / "clicks"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simple_models, "show_simple_models", SHOW)
        return config, train(config)


def test_the_report_and_the_results_have_the_measures(with_baselines):
    config, version = with_baselines
    schema = FeatureSchema.load(config.data_dir)
    baselines = Baselines.load(config.run_dir / "baselines.npz")
    measures = as_json(measure_baselines(baselines, config.data_dir, schema))
    results = json.loads((version / "assets.extra" / "results.json").read_text())
    assert results["baselines"] == measures
    report = (config.run_dir / "report.md").read_text()
    for name, values in measures["validation"].items():
        numbers = f"{values['auc']:.4f} | {values['log_loss']:.4f}"
        assert f"| validation | {name} | {numbers} |" in report


@pytest.mark.slow
def test_evaluating_measures_them_on_other_rows(with_baselines, capsys, tmp_path):
    config, version = with_baselines
    output = tmp_path / "measures.json"
    evaluate_model(EvaluateCommand(version, config.data_dir, output_file=output))
    schema = FeatureSchema.load(config.data_dir)
    baselines = Baselines.load(version / "assets.extra" / "baselines.npz")
    expected = as_json(measure_baselines(baselines, config.data_dir, schema))
    measures = json.loads(output.read_text())
    assert {split: measures[split]["baselines"] for split in measures} == expected
    assert "| test | logistic regression |" in capsys.readouterr().out


def test_a_raw_log_is_held_against_them_too(with_baselines, raw_file, capsys):
    _, version = with_baselines
    evaluate_model(EvaluateCommand(version, raw=raw_file))
    assert "| raw | base rate | 0.5000 |" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_may_leave_them_out(small_config, tmp_path, capsys):
    config = replace(
        small_config, run_dir=tmp_path / "run", export_dir=None, baselines=False
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simple_models, "show_simple_models", SHOW)
        patch.chdir(tmp_path)
        train(config)
    assert "simple models" not in capsys.readouterr().out
    assert not (tmp_path / "run" / "baselines.npz").exists()
