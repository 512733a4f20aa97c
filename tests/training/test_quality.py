"""Quality of models on rows whose best score is known, and on real rows."""

import json
import re
from dataclasses import replace
from typing import get_args

import pytest

from benchmarks import small_data
from pipelines import synthetic
from pipelines.prepare import prepare
from tests.support.processes import ROOT
from tfdlrm.base.command_line import parse
from tfdlrm.config import PrepareConfig, TrainConfig
from tfdlrm.config.models import LogisticRegressionConfig, ModelConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.train import train


def config_of(name, directory):
    path = ROOT / "configs" / f"{name}.yaml"
    config = parse(TrainConfig, "tfdlrm.train", ["--config", str(path)])
    return replace(config, run_dir=directory / "run", export_dir=directory / "model")


def auc_on_test_rows(config):
    train(config)
    return json.loads((config.run_dir / "metrics.json").read_text())["test"]["auc"]


@pytest.mark.slow
def test_interactions_are_found_that_a_linear_model_cannot_see(tmp_path):
    raw = tmp_path / "twin.tsv"
    synthetic.write_raw(raw, num_rows=200_000, seed=0)
    data_dir = tmp_path / "data"
    prepare([raw], data_dir, PrepareConfig(min_frequency=100))
    config = replace(config_of("criteo_twin", tmp_path), data_dir=data_dir)
    linear = replace(
        config,
        model=LogisticRegressionConfig(),
        run_dir=tmp_path / "linear",
        export_dir=tmp_path / "linear_model",
    )
    reachable = FeatureSchema.load(data_dir).reachable["test"]["auc"]
    with_pairs, without = auc_on_test_rows(config), auc_on_test_rows(linear)
    assert without + 0.02 < with_pairs < reachable


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "auc"), [("criteo_sample", 0.763), ("criteo_sample_best", 0.768)]
)
def test_little_real_data_is_learned_as_well_as_is_said(
    name, auc, kaggle_rows, tmp_path
):
    config = config_of(name, tmp_path)
    config = replace(config, raw=kaggle_rows, data_dir=tmp_path / "data")
    assert auc_on_test_rows(config) > auc


def test_the_measurement_on_a_small_log_has_every_model():
    names = {"dlrm", *(config.name for config in small_data.OTHER_MODELS)}
    assert names == {config.name for config in get_args(ModelConfig)}


@pytest.mark.slow
def test_models_are_measured_on_a_small_log(tmp_path, monkeypatch):
    monkeypatch.setattr(small_data, "OTHER_MODELS", (LogisticRegressionConfig(),))
    raw = tmp_path / "small.tsv"
    synthetic.write_raw(raw, num_rows=1_500, seed=0)
    command = small_data.SmallDataCommand(
        raw, tmp_path / "work", (0.01, 0.02), seeds=(0, 1)
    )
    ensemble, member, dlrm, linear = small_data.measure(command)
    assert [row[0] for row in (ensemble, member)] == [
        "dlrm, 5 members",
        "dlrm, a member alone",
    ]
    assert dlrm[:2] == ("dlrm", "0.02")
    assert linear[0] == "logistic_regression"
    for cell in (*dlrm[2:], *linear[2:]):
        assert re.fullmatch(r"\d\.\d{4} ± \d\.\d{4}", cell)
