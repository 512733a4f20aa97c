"""Files and exports of models with an optimizer of the dense layers and late decay."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.small_models import SMALL_DLRM, inputs, schema
from tfdlrm.config import DenseOptimizerConfig, OptimizerConfig
from tfdlrm.exporting.keras_file import write_keras
from tfdlrm.models import build_model
from tfdlrm.streaming.learner import _step_function
from tfdlrm.training.compiling import compile_model

LATE = OptimizerConfig(
    "adagrad",
    0.1,
    dense=DenseOptimizerConfig("adam", 0.01, clip_norm=1.0),
    table_weight_decay=2.0,
)
LABEL = np.arange(6.0).reshape(-1, 1) % 2


@pytest.fixture
def trained():
    model = build_model(schema(), SMALL_DLRM)
    compile_model(model, LATE)
    rows = {name: values[:2] for name, values in inputs().items()}
    model.fit(rows, LABEL[:2], epochs=3, verbose=0, shuffle=False)
    return model


@pytest.mark.slow
def test_training_goes_on_from_the_keras_file(trained, tmp_path):
    write_keras(trained, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(inputs()), trained(inputs()))
    for model in (trained, loaded):
        keras.utils.set_random_seed(1)
        model.fit(inputs(), LABEL, verbose=0, shuffle=False)
    for weight, expected in zip(
        loaded.weights + loaded.optimizer.variables,
        trained.weights + trained.optimizer.variables,
        strict=True,
    ):
        np.testing.assert_array_equal(weight.numpy(), expected.numpy())


def test_an_export_has_the_rows_after_all_steps(trained, tmp_path):
    expected = trained(inputs()).numpy()
    trained.export(str(tmp_path / "model"), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(loaded.serve(inputs()), expected, rtol=1e-5, atol=1e-6)
    trained.fit(inputs(), LABEL, verbose=0)
    assert not np.allclose(trained(inputs()), expected)
    table = trained.optimizer.tables.late_decay.tables[0]
    assert table.missed_decay is not None


@pytest.mark.slow
def test_a_stream_is_learned_with_late_decay():
    ends = []
    for decay_of in ("touched", "all"):
        keras.utils.set_random_seed(1)
        model = build_model(schema(), SMALL_DLRM)
        compile_model(model, replace(LATE, decay_of=decay_of))
        model.optimizer.build(model.trainable_variables)
        step = _step_function(model, None)
        for row in range(6):
            features = {
                name: values[row : row + 1] for name, values in inputs().items()
            }
            step(features, tf.constant(LABEL[row : row + 1], tf.float32))
        ends.append(model(inputs()))
    np.testing.assert_allclose(*ends, rtol=1e-4, atol=1e-6)
