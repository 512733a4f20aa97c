"""What an exported version holds beside its signatures, and what the command says."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
import yaml
from tensorflow_serving.apis import prediction_log_pb2

from tests.processes import run_command_line
from tests.served import Served
from tests.serving_process import free_port
from tfdlrm.config import TrainConfig
from tfdlrm.data import read_split
from tfdlrm.errors import InputError
from tfdlrm.export import ExportCommand, export
from tfdlrm.metrics import binary_metrics
from tfdlrm.model_config import DLRMConfig
from tfdlrm.predict import PredictCommand, predict
from tfdlrm.schema import FeatureSchema
from tfdlrm.serving import saved_model
from tfdlrm.serving.quantization import quantized
from tfdlrm.serving.signatures import METHODS, raw_columns
from tfdlrm.serving.text_protos import (
    read_batching_parameters,
    read_model_config,
    read_monitoring,
)
from tfdlrm.train import train


@pytest.fixture(scope="module")
def config(data_dir, tmp_path_factory):
    directory = tmp_path_factory.mktemp("trained")
    return TrainConfig(
        data_dir=data_dir,
        model=DLRMConfig(embedding_dim=8, bottom_mlp_units=(16,), top_mlp_units=(16,)),
        batch_size=64,
        evaluations_per_epoch=1,
        run_dir=directory / "run",
        export_dir=directory / "clicks",
    )


@pytest.fixture(scope="module")
def exported(config):
    return train(config)


@pytest.fixture(scope="module")
def int8(exported, config, tmp_path_factory):
    """The same run with int8 tables, and what the command said."""
    directory = tmp_path_factory.mktemp("int8") / "clicks"
    said = run_command_line(
        f"python -m tfdlrm.export --run_dir {config.run_dir} --export_dir {directory} "
        f"--quantize int8 --deployment {directory.parent / 'deployment'}"
    )
    assert (said.returncode, said.stderr) == (0, ""), said.stderr
    return directory / "1", said.stdout


def warm_up_logs(version):
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    return [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]


def replay(served, log):
    """What a signature answers to a request."""
    kind = log.WhichOneof("log_type")
    request = getattr(log, kind).request
    if kind == "predict_log":
        inputs = {name: tf.make_ndarray(t) for name, t in request.inputs.items()}
    else:
        examples = request.input.example_list.examples
        inputs = {"inputs": [each.SerializeToString() for each in examples]}
    return request.model_spec, served(request.model_spec.signature_name, **inputs)


def test_the_warm_up_goes_through_every_signature(exported, int8):
    for version in (exported, int8[0]):
        served = Served(version)
        answered = {}
        for log in warm_up_logs(version):
            spec, outputs = replay(served, log)
            assert spec.name == "clicks"
            rows = {len(values) for values in outputs.values()}
            answered.setdefault(spec.signature_name, set()).update(rows)
        assert answered == {name: {1, 32} for name in METHODS}


def test_without_the_protocols_there_is_no_warm_up(exported, config, tmp_path, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "tensorflow_serving.apis", None)
        version = export(ExportCommand(config.run_dir, tmp_path / "clicks"))
    assert not (version / "assets.extra" / "tf_serving_warmup_requests").exists()
    assert "No warm-up requests" in capsys.readouterr().out
    assert Served(version).signatures.keys() >= {"raw", "classify"}


def test_the_card_tells_what_the_model_is(exported, config):
    card = json.loads((exported / "assets.extra" / "model.json").read_text())
    assert (card["name"], card["version"], card["quantization"]) == ("clicks", 1, None)
    metrics = json.loads((config.run_dir / "metrics.json").read_text())
    assert card["metrics"] == metrics
    assert card["config"]["model"]["embedding_dim"] == 8
    schema = FeatureSchema.load(config.data_dir)
    assert list(card["schema"]["categorical_features"].values()) == (
        schema.vocabulary_sizes
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", card["created"])
    example = {name: [value] for name, value in card["example"].items()}
    assert re.fullmatch("[0-9a-f]{8}", card["example"]["C1"])
    assert 0 < Served(exported).probabilities("raw", **example)[0] < 1


def test_a_row_of_int8_is_off_by_half_a_scale_at_most():
    rng = np.random.default_rng(0)
    values = rng.normal(0, rng.lognormal(0, 3, (1000, 1)), (1000, 16)).astype("float32")
    values[5] = 0
    rows, scales = quantized(values)
    assert rows.dtype == np.int8
    restored = rows.astype("float64") * scales[:, None]
    error = np.abs(restored - values).max(axis=1)
    assert (error <= 0.5001 * np.abs(values).max(axis=1) / 127).all()
    assert not restored[5].any()


def test_int8_tables_are_all_that_is_written(exported, int8):
    variables = {
        version: dict(tf.train.list_variables(str(version / "variables" / "variables")))
        for version in (exported, int8[0])
    }
    kinds = {
        name: tf.train.load_variable(str(int8[0] / "variables" / "variables"), name)
        for name in variables[int8[0]]
        if "quantized" in name
    }
    num_rows = sum(FeatureSchema.load(exported / "assets.extra").vocabulary_sizes)
    described = sorted((each.dtype.name, each.shape) for each in kinds.values())
    assert described == [("float32", (num_rows,)), ("int8", (num_rows, 8))]
    assert [num_rows, 8] in variables[exported].values()
    floats = [name for name in variables[int8[0]] if name not in kinds]
    assert [num_rows, 8] not in [variables[int8[0]][name] for name in floats]


def test_int8_scores_hardly_differ_and_the_command_tells(exported, int8, config):
    version, said = int8
    schema = FeatureSchema.load(config.data_dir)
    (batch,) = read_split(config.data_dir, schema, "test", 10_000)
    labels = batch[1].numpy().ravel()
    before, after = (
        saved_model.load_scorer(path)(batch[0]).numpy().ravel()
        for path in (exported, version)
    )
    assert 0 < np.abs(before - after).max() < 0.02
    aucs = [binary_metrics(labels, scores).auc for scores in (before, after)]
    float_row, int8_row = (
        next(line for line in said.splitlines() if line.startswith(f"| {name} |"))
        for name in ("float32", "int8")
    )
    assert f"| {aucs[0]:.5f} |" in float_row
    assert f"| {aucs[1]:.5f} ({aucs[1] - aucs[0]:+.5f}) |" in int8_row
    assert "ms" in int8_row
    card = json.loads((version / "assets.extra" / "model.json").read_text())
    assert card["quantization"] == "int8"
    assert card["metrics"]["test"]["auc"] == pytest.approx(aucs[1], abs=1e-6)


def test_int8_models_score_raw_rows_with_both(int8, raw_file, tmp_path):
    version, _ = int8
    predict(PredictCommand(version, raw_file, tmp_path / "p.csv"))
    predicted = np.array((tmp_path / "p.csv").read_text().split()[1:201], np.float32)
    lines = raw_file.read_text().splitlines()[:200]
    served = Served(version)
    names = raw_columns(FeatureSchema.load(version / "assets.extra"))
    columns = {
        name: [line.split("\t")[place] for line in lines]
        for place, name in enumerate(names, 1)
    }
    found = served.probabilities("raw", **columns)
    np.testing.assert_allclose(found, predicted, rtol=1e-5)


def test_only_the_newest_versions_are_kept_when_asked(exported, config, tmp_path):
    models = tmp_path / "clicks"
    for number in (1, 2, 9):
        shutil.copytree(exported, models / str(number))
    command = ExportCommand(config.run_dir, models, keep=2)
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


def test_a_directory_that_cannot_be_made_is_named(exported, config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"export_dir .*/file/clicks cannot be made"):
        export(ExportCommand(config.run_dir, tmp_path / "file" / "clicks"))


def test_nothing_is_left_of_an_export_that_fails(exported, config, data_dir, tmp_path):
    damaged = tmp_path / "data"
    shutil.copytree(data_dir, damaged)
    (damaged / "vocabulary" / "C3.parquet").write_text("no")
    run = tmp_path / "run"
    shutil.copytree(config.run_dir, run)
    settings = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.dump({**settings, "data_dir": str(damaged)}))
    with pytest.raises(InputError, match=r"C3\.parquet cannot be read as a vocabulary"):
        export(ExportCommand(run, tmp_path / "clicks"))
    assert not any((tmp_path / "clicks").iterdir())


def test_the_deployment_is_what_tf_serving_reads(int8):
    version, _ = int8
    directory = version.parents[1] / "deployment"
    config = read_model_config(directory / "models.config")
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("clicks", "/models/clicks")
    assert model.model_platform == "tensorflow"
    assert read_batching_parameters(directory / "batching_parameters.txt")
    monitoring = read_monitoring(directory / "monitoring.config")
    assert (monitoring.enable, monitoring.path) == (
        True,
        "/monitoring/prometheus/metrics",
    )
    compose = yaml.safe_load((directory / "compose.yaml").read_text())
    service = compose["services"]["tensorflow_serving"]
    mounts = {each["target"]: directory / each["source"] for each in service["volumes"]}
    assert (mounts["/models/clicks"] / "1").samefile(version)
    for argument in service["command"]:
        _, equals, path = argument.partition("=/config/")
        assert not equals or (mounts["/config"] / path).is_file()


def test_a_second_model_joins_a_deployment(int8, exported, config, tmp_path):
    directory = tmp_path / "deployment"
    shutil.copytree(int8[0].parents[1] / "deployment", directory)
    (directory / "batching_parameters.txt").write_text("max_batch_size { value: 8 }\n")
    export(ExportCommand(config.run_dir, tmp_path / "second", deployment=directory))
    models = read_model_config(directory / "models.config").model_config_list.config
    assert [model.name for model in models] == ["clicks", "second"]
    tuned = read_batching_parameters(directory / "batching_parameters.txt")
    assert tuned.max_batch_size == 8
    compose = yaml.safe_load((directory / "compose.yaml").read_text())
    volumes = compose["services"]["tensorflow_serving"]["volumes"]
    assert {each["target"]: each["source"] for each in volumes}["/models/second"] == (
        "../second"
    )
    (directory / "compose.yaml").write_text("services: {}")
    with pytest.raises(InputError, match=r"is not as tfdlrm\.export wrote it"):
        export(ExportCommand(config.run_dir, tmp_path / "third", deployment=directory))


@pytest.mark.parametrize("signature", ["raw", "classify"])
def test_the_savedmodel_command_shows_signatures(exported, signature):
    shown = run_command_line(
        f"saved_model_cli show --dir {exported} --tag_set serve "
        f"--signature_def {signature}"
    ).stdout
    method = {"raw": "predict", "classify": "classify"}[signature]
    assert f"Method name is: tensorflow/serving/{method}" in shown


@pytest.mark.serving
def test_tf_serving_answers_as_tensorflow_does(int8):
    server = shutil.which("tensorflow_model_server")
    if server is None:
        pytest.skip("tensorflow_model_server is not on the PATH")
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    version, _ = int8
    deployment = version.parents[1] / "deployment"
    port = free_port()
    process = subprocess.Popen(
        [
            server,
            f"--port={port}",
            "--model_name=clicks",
            f"--model_base_path={version.parent}",
            "--enable_batching",
            f"--batching_parameters_file={deployment / 'batching_parameters.txt'}",
            f"--monitoring_config_file={deployment / 'monitoring.config'}",
        ]
    )
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            served = Served(version)
            for log in warm_up_logs(version):
                spec, expected = replay(served, log)
                request = getattr(log, log.WhichOneof("log_type")).request
                if spec.signature_name == "classify":
                    answer = stub.Classify(request, timeout=30, wait_for_ready=True)
                    found = [
                        [each.score for each in row.classes]
                        for row in answer.result.classifications
                    ]
                    np.testing.assert_allclose(found, expected["scores"], rtol=1e-5)
                elif spec.signature_name == "regress":
                    answer = stub.Regress(request, timeout=30, wait_for_ready=True)
                    found = [each.value for each in answer.result.regressions]
                    np.testing.assert_allclose(
                        found, expected["outputs"].ravel(), rtol=1e-5
                    )
                else:
                    answer = stub.Predict(request, timeout=30, wait_for_ready=True)
                    found = tf.make_ndarray(answer.outputs["probability"])
                    np.testing.assert_allclose(
                        found, expected["probability"], rtol=1e-5
                    )
    finally:
        process.terminate()
        process.wait(30)
