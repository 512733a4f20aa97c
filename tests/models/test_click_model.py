"""Keras' `fit` around a model whose single steps run without Keras' own wrapping."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.small_models import inputs, schema
from tfdlrm.config.models import DLRMConfig
from tfdlrm.data.reading import without_tuning
from tfdlrm.models import build_model
from tfdlrm.optimizers import Adagrad

ROWS, BATCH = 70, 16  # the last batch is a short one


def model(metrics=True, **compile_options):
    keras.utils.set_random_seed(0)
    config = DLRMConfig(embedding_dim=4, bottom_mlp_units=(8,), top_mlp_units=(8,))
    built_model = build_model(schema(), config)
    built_model.compile(
        Adagrad(0.1),
        keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.AUC(name="auc", from_logits=True)] if metrics else None,
        **compile_options,
    )
    return built_model


def labels():
    return np.random.default_rng(1).integers(0, 2, (ROWS, 1)).astype("float32")


def batches():
    rows = tf.data.Dataset.from_tensor_slices((inputs(ROWS), labels()))
    return rows.batch(BATCH).with_options(without_tuning())


class Recorder(keras.callbacks.Callback):
    def __init__(self):
        self.batches, self.losses = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append(batch)
        self.losses.append(logs["loss"])


def assert_same(model, other_model):
    for expected, actual in zip(
        model.get_weights(), other_model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_single_steps_are_what_keras_own_function_does():
    single_stepped, double_stepped = model(), model(steps_per_execution=2)
    histories = [
        candidate.fit(batches(), epochs=3, verbose=0, shuffle=False).history
        for candidate in (single_stepped, double_stepped)
    ]
    assert_same(double_stepped, single_stepped)
    assert histories[0].keys() == histories[1].keys() == {"loss", "auc"}
    for name, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][name], rtol=1e-5)


@pytest.mark.slow_variants
@pytest.mark.parametrize("is_known", [True, False])
def test_callbacks_see_every_step_and_epochs_end_with_the_data(is_known):
    data = batches() if is_known else batches().filter(lambda *row: True)
    recorder = Recorder()
    model().fit(data, epochs=2, verbose=0, shuffle=False, callbacks=[recorder])
    assert recorder.batches == [0, 1, 2, 3, 4] * 2
    assert np.isfinite(recorder.losses).all()


def test_arrays_weights_and_validation_work():
    weights = np.linspace(0.1, 1, ROWS)
    history = model().fit(
        inputs(ROWS),
        labels(),
        batch_size=BATCH,
        sample_weight=weights,
        validation_data=batches(),
        verbose=0,
    )
    assert history.history.keys() == {"loss", "auc", "val_loss", "val_auc"}


@pytest.mark.slow
def test_a_batch_at_a_time_is_the_same_training():
    fitted, stepped = model(), model()
    fitted.fit(batches(), verbose=0, shuffle=False)
    for features, label in batches():
        stepped.train_on_batch(features, label)
    assert_same(fitted, stepped)


@pytest.mark.slow
def test_eager_steps_are_eager_and_compiling_anew_makes_a_new_function():
    fitted, eager = model(), model(run_eagerly=True)
    for candidate in (fitted, eager):
        candidate.fit(batches(), verbose=0, shuffle=False)
    assert_same(fitted, eager)
    old_function = fitted.train_function
    fitted.compile(Adagrad(0.0), "mse")
    weights = fitted.get_weights()
    fitted.fit(batches(), verbose=0)
    assert fitted.train_function is not old_function
    np.testing.assert_array_equal(fitted.get_weights()[0], weights[0])


@pytest.mark.slow
def test_input_is_opened_once_an_epoch():
    opened = []

    def rows():
        opened.append(True)
        for start in range(0, ROWS, BATCH):
            part = slice(start, start + BATCH)
            features = {name: values[part] for name, values in inputs(ROWS).items()}
            yield features, labels()[part]

    signature = tf.nest.map_structure(
        lambda spec: tf.TensorSpec([None, *spec.shape[1:]], spec.dtype),
        batches().element_spec,
    )
    once = tf.data.Dataset.from_generator(rows, output_signature=signature)
    built_model = model()
    built_model.fit(once, epochs=1, verbose=0, shuffle=False)
    assert len(opened) == 1
    built_model.evaluate(once, verbose=0)
    assert len(opened) == 2
