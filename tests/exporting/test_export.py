"""The files of an exported version, except its signatures, and the command's output."""

import json
import re
import shutil
from threading import Event, Thread
from time import sleep

import keras
import numpy as np
import pytest
import yaml

from tests.support.processes import run_command_line
from tests.support.served import Served, replay, warm_up_logs
from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.export import ExportCommand, export
from tfdlrm.exporting.scorer import load_scorer
from tfdlrm.exporting.signatures import METHODS
from tfdlrm.exporting.versions import new_version
from tfdlrm.models import build_model
from tfdlrm.training.fit import probabilities_of


@pytest.mark.slow
def test_the_warm_up_goes_through_every_signature(exported, int8_exported):
    for version in (exported, int8_exported[0]):
        served = Served(version)
        answered = {}
        for log in warm_up_logs(version):
            spec, outputs = replay(served, log)
            assert spec.name == "clicks"
            rows = {len(values) for values in outputs.values()}
            answered.setdefault(spec.signature_name, set()).update(rows)
        assert answered == {name: {1, 32} for name in METHODS}


@pytest.mark.slow
def test_without_the_protocols_there_is_no_warm_up(
    exported, small_config, tmp_path, capsys
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "tensorflow_serving.apis", None)
        version = export(ExportCommand(small_config.run_dir, tmp_path / "clicks"))
    assert not (version / "assets.extra" / "tf_serving_warmup_requests").exists()
    assert "No warm-up requests" in capsys.readouterr().out
    assert Served(version).signatures.keys() >= {"raw", "classify"}


def test_the_card_tells_what_the_model_is(exported, small_config):
    card = json.loads((exported / "assets.extra" / "model.json").read_text())
    assert (card["name"], card["version"], card["quantization"]) == ("clicks", 1, None)
    metrics = json.loads((small_config.run_dir / "metrics.json").read_text())
    assert card["metrics"] == metrics
    assert card["config"]["model"]["embedding_dim"] == 8
    schema = FeatureSchema.load(small_config.data_dir)
    assert list(card["schema"]["categorical_features"].values()) == (
        schema.vocabulary_sizes
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", card["created"])
    example = {name: [value] for name, value in card["example"].items()}
    assert re.fullmatch("[0-9a-f]{8}", card["example"]["C1"])
    assert 0 < Served(exported).probabilities("raw", **example)[0] < 1


def test_only_the_newest_versions_are_kept_when_asked(exported, small_config, tmp_path):
    models = tmp_path / "clicks"
    for number in (1, 2, 9):
        shutil.copytree(exported, models / str(number))
    command = ExportCommand(small_config.run_dir, models, keep=2)
    assert export(command) == models / "10"
    assert sorted(path.name for path in models.iterdir()) == ["10", "9"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": 0}, "keep is 0, expected >= 1"),
        ({"format": "onnx", "quantize": "int8"}, "format is onnx, which neither"),
        ({"format": "onnx", "deployment": "d"}, "format is onnx, which neither"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        ExportCommand("run", **arguments)


def test_a_deployment_of_what_is_elsewhere_is_refused(exported, small_config, tmp_path):
    elsewhere = ExportCommand(
        small_config.run_dir, storage.at("s3://a/b"), deployment=tmp_path / "files"
    )
    with pytest.raises(InputError, match="export_dir is s3://a/b, but"):
        export(elsewhere)
    assert not (tmp_path / "files").exists()


def test_a_directory_that_cannot_be_made_is_named(exported, small_config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"export_dir .*/file/clicks cannot be made"):
        export(ExportCommand(small_config.run_dir, tmp_path / "file" / "clicks"))


def test_nothing_is_left_of_an_export_that_fails(
    exported, small_config, data_dir, tmp_path
):
    damaged = tmp_path / "data"
    shutil.copytree(data_dir, damaged)
    (damaged / "vocabulary" / "C3.parquet").write_text("no")
    run = tmp_path / "run"
    shutil.copytree(small_config.run_dir, run)
    settings = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.dump({**settings, "data_dir": str(damaged)}))
    with pytest.raises(InputError, match=r"C3\.parquet has the checksum"):
        export(ExportCommand(run, tmp_path / "clicks"))
    assert not any((tmp_path / "clicks").iterdir())


def test_a_card_has_no_measures_of_weights_that_are_lost(
    exported, small_config, tmp_path, capsys
):
    run = shutil.copytree(small_config.run_dir, tmp_path / "run")
    checkpoints = CheckpointDirectory(run / "checkpoints")
    (newest,) = checkpoints.newest_first()
    damaged = f"step-{checkpoints.newest_step() + 1:010d}"
    shutil.copytree(newest, newest.with_name(damaged))
    (newest.with_name(damaged) / "state.json").write_bytes(b"")
    version = export(ExportCommand(run, tmp_path / "clicks"))
    card = json.loads((version / "assets.extra" / "model.json").read_text())
    assert card["metrics"] is None
    output = capsys.readouterr().out
    assert f"{damaged} is damaged" in output
    assert "are not those of the weights exported" in output


def test_two_exports_at_once_get_a_version_each(tmp_path):
    """The second one waits, or both would write to the same directory."""
    is_first_in, versions = Event(), []

    def write(is_first):
        with new_version(tmp_path / "clicks") as (target, directory):
            is_first_in.set()
            directory.mkdir()
            sleep(0.2 * is_first)
            (directory / "saved_model.pb").write_text(target.name)
        versions.append(target.name)

    first_thread, second_thread = (
        Thread(target=write, args=[number]) for number in (True, False)
    )
    first_thread.start()
    is_first_in.wait()
    second_thread.start()
    first_thread.join()
    second_thread.join()
    assert versions == ["1", "2"]
    for version in versions:
        content = (tmp_path / "clicks" / version / "saved_model.pb").read_text()
        assert content == version


@pytest.fixture
def bfloat16():
    yield "mixed_bfloat16"
    keras.config.set_dtype_policy("float32")


@pytest.mark.slow
def test_an_export_computes_in_the_precision_of_its_run(
    exported, small_config, tmp_path, bfloat16
):
    run = shutil.copytree(small_config.run_dir, tmp_path / "run")
    settings = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.dump({**settings, "precision": bfloat16}))
    narrow = load_scorer(export(ExportCommand(run, tmp_path / "clicks")))
    schema = FeatureSchema.load(small_config.data_dir)
    batches = read_split(small_config.data_dir, schema, "test", 64)
    features, _ = next(iter(batches))
    keras.config.set_dtype_policy(bfloat16)
    model = build_model(schema, small_config.model)
    CheckpointDirectory(run / "checkpoints").load_weights(model)
    expected = probabilities_of(model, batches)(features).numpy()
    np.testing.assert_allclose(narrow(features), expected, rtol=0.02)
    # float32 scores are equal to the last bits, and these are not.
    assert not np.allclose(narrow(features), load_scorer(exported)(features), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("signature", ["raw", "classify"])
def test_the_savedmodel_command_shows_signatures(exported, signature):
    process = run_command_line(
        f"saved_model_cli show --dir {exported} --tag_set serve "
        f"--signature_def {signature}"
    ).stdout
    method = {"raw": "predict", "classify": "classify"}[signature]
    assert f"Method name is: tensorflow/serving/{method}" in process
