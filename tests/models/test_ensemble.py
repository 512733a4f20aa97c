"""Ensembles: each member learns as if it were alone, and their mean is served."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.small_models import CONFIGS, inputs, schema
from tests.support.small_runs import BATCH_SIZE
from tfdlrm.config import OptimizerConfig
from tfdlrm.data.reading import without_tuning
from tfdlrm.data.side_by_side import side_by_side
from tfdlrm.models import Ensemble, build_model
from tfdlrm.models.ensemble import build_ensemble, member_seeds
from tfdlrm.training.compiling import compile_model
from tfdlrm.training.distribution import strategy
from tfdlrm.training.fit import make_reproducible

SEED, SIZE = 1, 2
WITH_BUCKETS = CONFIGS["dlrm with buckets"]


def a_pass(seed, has_bags=False, num_rows=40):
    """Return the batches of one member, the last one with fewer rows."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 4, (num_rows, 3)).astype(np.int32)
    if has_bags:
        values = tf.constant(rng.integers(0, 4, num_rows * 6), tf.int32)
        bags = tf.RaggedTensor.from_row_lengths(values, [2, 0, 4] * num_rows)
        ids = tf.RaggedTensor.from_uniform_row_length(bags, 3)
    features = {
        "dense_features": rng.normal(size=(num_rows, 3)).astype(np.float32),
        "categorical_features": ids,
    }
    label = (rng.random((num_rows, 1)) < 0.4).astype(np.float32)
    batches = tf.data.Dataset.from_tensor_slices((features, label)).batch(BATCH_SIZE)
    return batches.with_options(without_tuning())


def train(
    size, seed, config=WITH_BUCKETS, has_bags=False, devices="default", is_eager=False
):
    make_reproducible(seed)
    with strategy(devices).scope():
        model = build_ensemble(schema(), config, size, seed)
        compile_model(model, OptimizerConfig("lazy_adam", 0.05))
    model.run_eagerly = is_eager  # no time to trace a step
    passes = [a_pass(member, has_bags) for member in member_seeds(seed, size)]
    return model, model.fit(side_by_side(passes), verbose=0, shuffle=False).history


def assert_members_equal_models_alone(**settings):
    ensemble, history = train(SIZE, SEED, **settings)
    losses = []
    for member, seed in zip(ensemble.members, member_seeds(SEED, SIZE), strict=True):
        alone, own_history = train(1, seed, **settings)
        losses += own_history["loss"]
        for weight, expected in zip(member.weights, alone.weights, strict=True):
            np.testing.assert_array_equal(weight.numpy(), expected.numpy())
    np.testing.assert_allclose(history["loss"], [np.mean(losses)], rtol=1e-6)


@pytest.mark.slow_variants
@pytest.mark.parametrize("name", ["mlp", *(name for name in CONFIGS if name != "mlp")])
def test_a_member_of_any_kind_learns_as_a_model_alone_bit_for_bit(name):
    assert_members_equal_models_alone(config=CONFIGS[name], is_eager=True)


@pytest.mark.slow
@pytest.mark.parametrize("devices", ["default", "mirrored"])
def test_a_member_with_bags_learns_as_a_model_alone(devices):
    assert_members_equal_models_alone(has_bags=True, devices=devices)


@pytest.mark.slow
def test_a_member_on_two_devices_learns_as_a_model_alone():
    assert_members_equal_models_alone(devices="mirrored")


def test_the_logit_is_the_mean_of_those_of_the_members():
    ensemble = build_ensemble(schema(), WITH_BUCKETS, SIZE, SEED)
    logits = np.hstack([member(inputs()) for member in ensemble.members])
    assert np.ptp(logits, axis=1).min() > 0
    expected = logits.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(ensemble(inputs()), expected, rtol=1e-6)


@pytest.mark.slow
def test_members_that_share_rows_each_learn_them_as_alone():
    ensemble = build_ensemble(schema(), WITH_BUCKETS, SIZE, SEED)
    copies = keras.models.clone_model(ensemble)
    copies.set_weights(ensemble.get_weights())
    label = np.ones((6, 1), np.float32)
    for model in (ensemble, *copies.members):
        compile_model(model, OptimizerConfig("adagrad", 0.05))
        model.train_on_batch(inputs(), label)
    for member, alone in zip(ensemble.members, copies.members, strict=True):
        for weight, expected in zip(member.weights, alone.weights, strict=True):
            np.testing.assert_array_equal(weight.numpy(), expected.numpy())


def test_columns_by_name_reach_every_member():
    ensemble = build_ensemble(schema(), WITH_BUCKETS, SIZE, SEED)
    features = inputs()
    ids = features["categorical_features"]
    by_name = {name: ids[:, number] for number, name in enumerate(("C1", "C2", "C3"))}
    by_name = dict(reversed(by_name.items()))
    outputs = ensemble({**features, "categorical_features": by_name})
    np.testing.assert_array_equal(outputs, ensemble(features))


def test_an_ensemble_of_one_is_the_model_itself():
    make_reproducible(SEED)
    expected = build_model(schema(), WITH_BUCKETS)
    make_reproducible(SEED)
    model = build_ensemble(schema(), WITH_BUCKETS, 1, SEED)
    assert type(model) is type(expected)
    for weight, other in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), other.numpy())


def test_seeds_of_runs_have_no_member_in_common():
    seeds = [seed for run in range(4) for seed in member_seeds(run, 5)]
    assert len(set(seeds)) == len(seeds)


def test_one_member_is_refused():
    with pytest.raises(ValueError, match="Got 1 members: expected two or more"):
        Ensemble([build_model(schema(), WITH_BUCKETS)])


@pytest.mark.slow
def test_a_file_of_keras_holds_every_member(tmp_path):
    ensemble, _ = train(SIZE, SEED)
    ensemble.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(inputs()), ensemble(inputs()))
    for weight, expected in zip(loaded.weights, ensemble.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), expected.numpy())
