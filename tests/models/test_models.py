"""Properties of every model: columns, files, devices, precision, commands."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.small_models import CONFIGS, inputs, random_model, schema
from tfdlrm import optimizers
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.config import TrainConfig
from tfdlrm.config.models import MFConfig
from tfdlrm.export import ExportCommand, export
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.exporting.scorer import load_scorer
from tfdlrm.models import build_model
from tfdlrm.predict import PredictCommand, predict
from tfdlrm.train import train
from tfdlrm.training.distribution import strategy

EVERY_MODEL = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
TAKES_ANY_COLUMNS = pytest.mark.parametrize(
    "config", [c for name, c in CONFIGS.items() if name != "mf"]
)


@pytest.mark.slow_variants
@pytest.mark.parametrize("num_dense", [0, 3])
@TAKES_ANY_COLUMNS
def test_either_kind_of_column_may_be_absent(config, num_dense):
    sizes = () if num_dense else (5, 9)
    model = build_model(schema(num_dense, sizes), config)
    assert model(inputs(6, num_dense, len(sizes))).shape == (6, 1)


@pytest.mark.slow_variants
@EVERY_MODEL
def test_bags_of_one_id_are_single_ids(config):
    model, features = random_model(config), inputs()
    ids = features["categorical_features"]
    bags = tf.RaggedTensor.from_tensor(ids[..., None], ragged_rank=2)
    offsets = np.tile(np.arange(len(ids)), (3, 1))
    for ids_of_form in (bags, ids[..., None], (list(ids.T), offsets)):
        outputs = model({**features, "categorical_features": ids_of_form})
        np.testing.assert_allclose(outputs, model(features), rtol=1e-5, atol=1e-6)


@pytest.mark.slow_variants
@EVERY_MODEL
def test_round_trip(config, tmp_path):
    model = random_model(config)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(inputs()), model(inputs()))
    assert loaded.name == config.name


@pytest.mark.slow_variants
@EVERY_MODEL
def test_the_exported_model_gives_the_same_probabilities(config, tmp_path):
    model = random_model(config)
    exported = export_model(model, schema(), tmp_path / "data", tmp_path / "model")
    np.testing.assert_allclose(
        load_scorer(exported)(inputs()), tf.sigmoid(model(inputs())), rtol=1e-5
    )


@pytest.mark.slow_variants
@EVERY_MODEL
def test_a_checkpoint_has_all_weights_and_the_optimizers_state(config, tmp_path):
    trained, fresh = (build_model(schema(), config) for _ in range(2))
    for model in (trained, fresh):
        model.compile(optimizers.Adagrad(learning_rate=0.1), "mse")
    trained.train_on_batch(inputs(), np.ones((6, 1)))
    checkpoints = CheckpointDirectory(tmp_path)
    variables = SavedVariables(trained)
    state = {"shapes": variables.shapes, "tables": None}
    checkpoints.write_step(1, state, variables.all_pieces())
    checkpoints.restore(SavedVariables(fresh))
    np.testing.assert_array_equal(fresh(inputs()), trained(inputs()))
    for restored, original in zip(
        fresh.optimizer.variables, trained.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(restored, original)


@pytest.mark.slow_variants
@EVERY_MODEL
def test_every_weight_has_a_name_of_its_own_for_checkpoints(config):
    paths = [weight.path for weight in build_model(schema(), config).weights]
    assert len(set(paths)) == len(paths)


@pytest.mark.slow_variants
@EVERY_MODEL
def test_tables_get_sparse_gradients(config):
    model = build_model(schema(), config)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(inputs()) ** 2)
    weights = model.trainable_variables
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    for weight, gradient in zip(weights, gradients, strict=True):
        is_table = weight.path.endswith("table")
        assert isinstance(gradient, tf.IndexedSlices if is_table else tf.Tensor)


@pytest.mark.slow_variants
@EVERY_MODEL
def test_logits_are_float32_in_mixed_precision(config):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        logits = build_model(schema(), config)(inputs())
    finally:
        keras.config.set_dtype_policy("float32")
    assert logits.dtype == tf.float32


@pytest.mark.parametrize(  # every layer, once
    "name",
    ["dcn", *(pytest.param(n, marks=pytest.mark.slow) for n in ("deepfm", "mf"))],
)
def test_two_devices_learn_what_one_does(name):
    features = inputs(batch=8)
    labels = (np.arange(8) % 2)[:, None]
    outputs = []
    for devices in ("default", "mirrored"):
        keras.utils.set_random_seed(0)
        with strategy(devices).scope():
            model = build_model(schema(), CONFIGS[name])
            model.compile(
                optimizers.SGD(learning_rate=0.1),
                keras.losses.BinaryCrossentropy(from_logits=True),
            )
        data = tf.data.Dataset.from_tensor_slices((features, labels)).batch(4)
        model.fit(data, verbose=0, shuffle=False)
        outputs.append(model(features))
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("pictures")
def test_another_model_goes_the_whole_way(
    data_dir, raw_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    config = TrainConfig(data_dir, model=MFConfig("C1", "C2"), run_dir=run)
    exported = train(config)
    assert exported == Path("saved_models/run/1")
    assert "mf ignores the columns I1, I2, " in capsys.readouterr().out
    report = (run / "report.md").read_text()
    assert "- ignored columns: I1, I2, " in report
    assert "reliability.png" in report
    assert (run / "reliability.png").read_bytes().startswith(b"\x89PNG")
    again = export(ExportCommand(run))
    assert again == Path("saved_models/run/2")
    for model in (exported, again):
        predict(PredictCommand(model, raw_file, tmp_path / f"{model.name}.csv"))
    assert (tmp_path / "1.csv").read_text() == (tmp_path / "2.csv").read_text()
    with pytest.raises(InputError, match="item is 'C99'"):
        train(TrainConfig(data_dir, model=MFConfig("C1", "C99"), run_dir=Path("new")))
    assert not Path("new").exists()
