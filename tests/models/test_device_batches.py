"""Batches reach devices ahead of their step, and bags as flat numbers."""

from functools import cache, partial
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.config import OptimizerConfig
from tfdlrm.config.models import DLRMConfig
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.models import build_model, click_model, device_batches, metric_values
from tfdlrm.models.device_batches import for_devices, with_bags
from tfdlrm.models.metric_values import read_together
from tfdlrm.training.compiling import compile_model
from tfdlrm.training.distribution import strategy

RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(0, 4, (23, 3)).astype(np.int32)
LENGTHS[20:] = 0  # a last batch without any id
IDS = RNG.integers(0, 20, LENGTHS.sum()).astype(np.int32)
DENSE = RNG.random((23, 2), np.float32)
LABELS = (RNG.random((23, 1)) < 0.4).astype(np.float32)


def bags():
    flat = tf.RaggedTensor.from_row_lengths(IDS, LENGTHS.ravel())
    return tf.RaggedTensor.from_uniform_row_length(flat, 3)


def batches(ids=None, size=5):
    ids = bags() if ids is None else ids
    features = {"dense_features": DENSE, "categorical_features": ids}
    return tf.data.Dataset.from_tensor_slices((features, LABELS)).batch(size)


def parts(batches):
    """Return each step's batch on each of two mirrored devices."""
    devices = strategy("mirrored")

    def local(number, values):
        return devices.experimental_local_results(values)[number]

    for step in for_devices(batches, devices, []):
        for number in range(2):
            part = tf.nest.map_structure(partial(local, number), step)
            yield with_bags(part)


def test_bags_reach_mirrored_devices_as_they_were():
    features, labels = zip(*parts(batches()), strict=True)
    ids = [part["categorical_features"].to_list() for part in features]
    assert [row for part in ids for row in part] == bags().to_list()
    dense = np.concatenate([part["dense_features"] for part in features])
    np.testing.assert_array_equal(dense, DENSE)
    np.testing.assert_array_equal(np.concatenate(labels), LABELS)


def test_devices_share_the_rows_of_a_batch():
    sizes = [len(labels) for _, labels in parts(batches())]
    assert sizes == [3, 2, 3, 2, 3, 2, 3, 2, 2, 1]
    sizes = [len(labels) for _, labels in parts(batches(size=22))]
    assert sizes == [11, 11, 1, 0]


def test_bags_travel_as_two_flat_tensors_of_integers():
    distributed = for_devices(batches(), strategy("mirrored"), [])
    features, _ = distributed.element_spec
    assert not any(
        isinstance(spec, tf.RaggedTensorSpec) for spec in tf.nest.flatten(features)
    )
    assert distributed.cardinality == 5


def model_of(name):
    keras.utils.set_random_seed(0)
    devices = strategy(name)
    categorical = tuple(CategoricalFeature(f"C{i}", 20, True) for i in range(3))
    config = DLRMConfig(embedding_dim=4, bottom_mlp_units=(8,), top_mlp_units=(8,))
    with devices.scope():
        model = build_model(FeatureSchema(("I1", "I2"), categorical), config)
        compile_model(model, OptimizerConfig("adagrad", 0.1))
    return model


def learn(name):
    model = model_of(name)
    history = model.fit(
        batches(size=11), shuffle=False, verbose=0, validation_data=batches()
    ).history
    return [*history["loss"], *history["val_loss"], *history["val_auc"]]


@cache
def learned_by_one_processor():
    return learn("default")


@pytest.mark.slow
def test_mirrored_devices_learn_from_bags_what_one_does():
    expected = learned_by_one_processor()
    np.testing.assert_allclose(learn("mirrored"), expected, rtol=1e-5)


def test_other_batches_stay_as_they_are():
    ids = RNG.integers(0, 20, (23, 3))
    unknown = batches().map(
        lambda features, labels: (features["dense_features"], labels)
    )
    for data in (batches(ids), unknown, np.ones(3), None):
        assert for_devices(data, strategy("mirrored"), []) is data
        assert for_devices(data, tf.distribute.get_strategy(), []) is data
    # Without a GPU nothing is sent ahead.
    assert "GPU" not in batches()._variant_tensor.device
    bags = batches()
    assert for_devices(bags, tf.distribute.get_strategy(), []) is bags


@pytest.fixture
def processor_as_gpu(monkeypatch):
    """Treat the processor as a GPU."""
    real = tf.config.list_logical_devices

    def listed(device_type=None):
        return real("CPU")[:1] if device_type == "GPU" else real(device_type)

    monkeypatch.setattr(tf.config, "list_logical_devices", listed)
    monkeypatch.setattr(device_batches, "_GPU", "device:CPU")
    monkeypatch.setattr(device_batches, "_is_on_gpu", lambda batches: False)


def test_one_gpu_gets_its_batches_ahead(processor_as_gpu):
    default = tf.distribute.get_strategy()
    ahead = for_devices(batches(), default, [])
    assert int(ahead.cardinality()) == 5  # or Keras would warn at the end
    actual = [with_bags(batch) for batch in ahead]
    ids = [features["categorical_features"].to_list() for features, _ in actual]
    assert [row for part in ids for row in part] == bags().to_list()
    features, _ = ahead.element_spec
    integers = {spec.dtype for spec in tf.nest.flatten(features)} - {
        tf.float32,
        tf.bool,
    }
    assert integers == {tf.int64}  # int32 lives in the memory of the host


def test_batches_that_a_gpu_cannot_hold_are_not_sent_ahead(processor_as_gpu):
    text = batches(np.full((23, 3), "a"))
    rows = batches(tf.RaggedTensor.from_row_lengths(IDS, LENGTHS.sum(1)))
    for dataset in (text, rows):
        assert for_devices(dataset, tf.distribute.get_strategy(), []) is dataset


def test_a_model_on_the_processor_gets_its_batches_there(processor_as_gpu):
    weight = SimpleNamespace(value=SimpleNamespace(device="/device:TPU:0"))
    numbers = batches(LENGTHS)
    assert for_devices(numbers, tf.distribute.get_strategy(), [weight]) is numbers


@pytest.mark.slow
def test_a_gpu_learns_what_a_processor_does(processor_as_gpu, monkeypatch, recwarn):
    actual = learn("default")
    monkeypatch.undo()
    np.testing.assert_allclose(actual, learned_by_one_processor(), rtol=1e-5)
    assert not [
        warning for warning in recwarn if "ran out of data" in str(warning.message)
    ]


@pytest.mark.slow_variants
@pytest.mark.parametrize("steps", [1, 2])
def test_metrics_of_a_gpu_are_read_together(monkeypatch, steps):
    monkeypatch.setattr(click_model, "has_gpu", lambda: True)
    monkeypatch.setattr(metric_values, "_is_number_on_gpu", tf.is_tensor)
    model = model_of("default")
    model.steps_per_execution = steps
    model.make_train_function(force=True)
    results = model.train_function(iter(batches()))
    assert set(results) == {"loss", "accuracy", "auc"}
    for name, value in model.get_metrics_result().items():
        assert float(results[name]) == float(value)
        assert np.array(results[name]) == value.numpy()
    (packed,) = {value._packed for value in results.values()}
    assert packed._tensor.shape == 3


def test_metrics_that_are_no_numbers_of_a_gpu_stay_as_they_are():
    results = {"loss": tf.constant(0.5), "auc": tf.constant(0.25)}
    assert read_together(lambda iterator: results)(None) is results
    assert read_together(lambda iterator: 0.5)(None) == 0.5
