"""The model.keras of a run and of `tfdlrm.export --format keras`."""

import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.support.processes import ROOT
from tests.support.small_models import CONFIGS, SMALL_DLRM, inputs, schema
from tfdlrm.base.errors import InputError
from tfdlrm.config import OptimizerConfig
from tfdlrm.export import ExportCommand, export
from tfdlrm.exporting import keras_file
from tfdlrm.exporting.keras_file import keep_keras, write_keras
from tfdlrm.models import build_model
from tfdlrm.runs.training_run import run_training
from tfdlrm.training.compiling import compile_model


@pytest.fixture
def small_model():
    model = build_model(schema(), SMALL_DLRM)
    compile_model(model, OptimizerConfig("adagrad", 0.1))
    return model


@pytest.mark.slow_variants
@pytest.mark.parametrize("name", ["dlrm", *CONFIGS])
def test_every_model_comes_back(name, tmp_path):
    model = build_model(schema(), CONFIGS.get(name, SMALL_DLRM))
    write_keras(model, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(inputs()), model(inputs()))
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


def test_training_goes_on_from_the_file_as_in_the_run(small_model, tmp_path):
    label = np.arange(6.0).reshape(-1, 1) % 2
    small_model.fit(inputs(), label, verbose=0)
    write_keras(small_model, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for model in (small_model, loaded):
        keras.utils.set_random_seed(1)
        model.fit(inputs(), label, verbose=0, shuffle=False)
    for weight, expected in zip(
        loaded.get_weights(), small_model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(weight, expected)


IMPORTS = "import keras, tfdlrm", "import tfdlrm.models, keras"


@pytest.mark.slow
@pytest.mark.parametrize("imports", IMPORTS)
def test_another_process_needs_an_import_only(imports, small_model, tmp_path):
    write_keras(small_model, tmp_path / "model.keras")
    path = str(tmp_path / "model.keras")
    load = f"{imports}; print(keras.saving.load_model({path!r}).name)"
    output = subprocess.run(
        [sys.executable, "-c", load], capture_output=True, text=True, cwd=ROOT
    )
    assert output.stdout.strip() == "dlrm", output.stderr


@pytest.mark.parametrize("error", [OSError("No space left"), RuntimeError("HDF5")])
def test_a_full_disk_costs_a_line(error, small_model, tmp_path, monkeypatch, capsys):
    def refuse(model, path):
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(type(small_model), "save", refuse)
    keep_keras(small_model, tmp_path / "model.keras", tmp_path)
    output = capsys.readouterr().out
    assert f"model.keras cannot be written ({error}): make room, then" in output
    assert f"tfdlrm.export --run_dir {tmp_path} --format keras" in output
    assert list(tmp_path.iterdir()) == []


def test_a_large_model_is_left_to_the_command(
    small_model, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(keras_file, "MAX_KERAS_BYTES", 4 * small_model.count_params())
    keep_keras(small_model, tmp_path / "model.keras", tmp_path)
    assert (tmp_path / "model.keras").exists()
    monkeypatch.setattr(keras_file, "MAX_KERAS_BYTES", 100)
    keep_keras(small_model, tmp_path / "large.keras", tmp_path)
    assert not (tmp_path / "large.keras").exists()
    assert "--format keras writes one" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["default", "mirrored"])
def test_a_run_and_an_export_of_it_have_the_same_model(
    strategy, pictures, small_config, tmp_path
):
    config = replace(
        small_config,
        strategy=strategy,
        run_dir=tmp_path / "run",
        export_dir=tmp_path / "clicks",
    )
    run_training(config)
    version = export(ExportCommand(config.run_dir, format="keras"))
    assert version == tmp_path / "clicks_keras" / "1"
    assert (version / "assets.extra" / "schema.json").is_file()
    of_run = keras.saving.load_model(config.run_dir / "model.keras")
    of_version = keras.saving.load_model(version / "model.keras")
    assert of_run.optimizer.learning_rate == config.optimizer.learning_rate
    for weight, expected in zip(
        of_version.get_weights(), of_run.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(weight, expected)


def test_what_goes_with_a_saved_model_alone_is_refused(tmp_path):
    for settings in ({"quantize": "int8"}, {"deployment": tmp_path / "d"}):
        with pytest.raises(InputError, match="format is keras, which neither quantize"):
            ExportCommand(tmp_path, format="keras", **settings)
