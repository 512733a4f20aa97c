"""Runs of an ensemble: what reads, resumes, exports and plans it."""

import numpy as np
import pytest
import tensorflow as tf

from tests.support import small_runs
from tests.support.small_models import CONFIGS, inputs, schema
from tests.support.small_runs import assert_equal, train, train_until_killed
from tfdlrm.base.errors import InputError
from tfdlrm.config import DenseOptimizerConfig, OptimizerConfig, TrainConfig
from tfdlrm.config.models import MLPConfig
from tfdlrm.data.side_by_side import side_by_side
from tfdlrm.exporting.exported_weights import find_model
from tfdlrm.exporting.model_card import ModelCard
from tfdlrm.exporting.rebuilt_model import rebuild_model
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.exporting.scorer import load_scorer
from tfdlrm.models import Ensemble
from tfdlrm.models.ensemble import build_ensemble
from tfdlrm.planning.memory_plan import memory_plan
from tfdlrm.planning.model_size import model_size
from tfdlrm.training.compiling import compile_model
from tfdlrm.training.same_architecture import require_same

CONFIG = CONFIGS["dlrm with buckets"]


def read_for_two(epoch, batch):
    """Read batches for each of two members; validation rows are the same for both."""
    if epoch == 7:
        return small_runs.read(epoch, batch)
    return side_by_side([small_runs.read(2 * epoch + i, batch) for i in range(2)])


@pytest.mark.slow
def test_a_killed_ensemble_ends_bit_for_bit_as_a_whole_one(tmp_path, monkeypatch):
    make_member = small_runs.small_model

    def ensemble_of_two(optimizer, steps_per_execution):
        ensemble = Ensemble([make_member() for _ in range(2)], name="dlrm")
        ensemble.build({"dense_features": (None, 3), "categorical_features": (None, 2)})
        config = small_runs.optimizer_config(optimizer)
        compile_model(ensemble, config, steps_per_execution)
        return ensemble

    monkeypatch.setattr(small_runs, "small_model", ensemble_of_two)
    expected, curves = train(tmp_path / "whole", read=read_for_two)
    train_until_killed(tmp_path / "killed", 7, read=read_for_two)
    weights, resumed_curves = train(tmp_path / "killed", read=read_for_two)
    assert_equal(weights, expected)
    assert resumed_curves == curves


@pytest.mark.slow
def test_an_exported_ensemble_gives_the_mean_and_is_rebuilt(tmp_path):
    ensemble = build_ensemble(schema(), MLPConfig(embedding_dim=4, units=(8,)), 3, 1)
    logits = np.hstack([member(inputs()) for member in ensemble.members])
    expected = tf.sigmoid(logits.mean(axis=1, keepdims=True))
    settings = {"model": {"name": "mlp", "embedding_dim": 4, "units": [8]}}
    card = ModelCard({**settings, "ensemble": 3})
    version = export_model(
        ensemble, schema(), tmp_path / "data", tmp_path / "model", card
    )
    np.testing.assert_allclose(load_scorer(version)(inputs()), expected, rtol=1e-5)
    rebuilt = rebuild_model(version, schema())
    np.testing.assert_array_equal(rebuilt(inputs()), ensemble(inputs()))
    source = find_model(version)
    assert source.ensemble == 3
    alone = TrainConfig(model=source.model)
    with pytest.raises(InputError, match="ensemble is 3 there, 1 here"):
        require_same(source, version, alone, schema(), {})


@pytest.mark.parametrize("name", ["dlrm with buckets", "mf"])
def test_the_plan_counts_every_member(name):
    config = CONFIGS[name]
    size = model_size(schema(), config).times(3)
    assert size.parameters == build_ensemble(schema(), config, 3).count_params()
    alone, together = (
        memory_plan(schema(), TrainConfig(model=config, ensemble=number))
        for number in (1, 3)
    )
    assert together.with_tables == 3 * alone.with_tables
    assert together.activations == 3 * alone.activations
    assert together.input > 2 * alone.input


def test_paths_of_weights_name_the_member():
    ensemble = build_ensemble(schema(), CONFIG, 2)
    paths = [weight.path for weight in ensemble.weights]
    assert len(set(paths)) == len(paths)
    assert {path.partition("/")[0] for path in paths} == {"member_1", "member_2"}


def test_members_are_not_clipped_together():
    dense = DenseOptimizerConfig("adam", clip_norm=0.5)
    optimizer = OptimizerConfig(dense=dense)
    assert TrainConfig(optimizer=optimizer).ensemble == 1
    with pytest.raises(InputError, match=r"clip_norm is 0\.5, expected null with an"):
        TrainConfig(optimizer=optimizer, ensemble=2)


@pytest.mark.parametrize("number", [0, -1])
def test_fewer_than_one_member_are_refused(number):
    with pytest.raises(InputError, match=rf"ensemble is {number}, expected >= 1"):
        TrainConfig(ensemble=number)
