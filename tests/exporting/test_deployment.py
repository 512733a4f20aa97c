"""The files that start TF Serving, and TF Serving started with them."""

import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
import yaml

from tests.support.served import Served, replay, warm_up_logs
from tests.support.serving_process import free_port
from tfdlrm.base.errors import InputError
from tfdlrm.export import ExportCommand, export
from tfdlrm.exporting.deployment import check_deployment, write_deployment
from tfdlrm.serving.text_protos import (
    read_batching_parameters,
    read_model_config,
    read_monitoring,
)


def test_the_deployment_is_what_tf_serving_reads(int8_exported):
    version, _ = int8_exported
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
    mounts = {
        volume["target"]: directory / volume["source"] for volume in service["volumes"]
    }
    assert (mounts["/models/clicks"] / "1").samefile(version)
    for argument in service["command"]:
        _, equals, path = argument.partition("=/config/")
        assert not equals or (mounts["/config"] / path).is_file()


def test_a_model_of_the_same_name_is_not_replaced(tmp_path):
    write_deployment(tmp_path / "deployment", tmp_path / "a" / "clicks")
    write_deployment(tmp_path / "deployment", tmp_path / "a" / "clicks")  # again
    written = (tmp_path / "deployment" / "compose.yaml").read_text()
    for use in (check_deployment, write_deployment):
        with pytest.raises(InputError, match="/a/clicks as clicks, expected a name"):
            use(tmp_path / "deployment", tmp_path / "b" / "clicks")
    assert (tmp_path / "deployment" / "compose.yaml").read_text() == written


@pytest.mark.slow
def test_a_second_model_joins_a_deployment(
    int8_exported, exported, small_config, tmp_path
):
    directory = tmp_path / "deployment"
    shutil.copytree(int8_exported[0].parents[1] / "deployment", directory)
    (directory / "batching_parameters.txt").write_text("max_batch_size { value: 8 }\n")
    export(
        ExportCommand(small_config.run_dir, tmp_path / "second", deployment=directory)
    )
    models = read_model_config(directory / "models.config").model_config_list.config
    assert [model.name for model in models] == ["clicks", "second"]
    tuned = read_batching_parameters(directory / "batching_parameters.txt")
    assert tuned.max_batch_size == 8
    compose = yaml.safe_load((directory / "compose.yaml").read_text())
    volumes = compose["services"]["tensorflow_serving"]["volumes"]
    assert {volume["target"]: volume["source"] for volume in volumes}[
        "/models/second"
    ] == ("../second")
    (directory / "compose.yaml").write_text("services: {}")
    with pytest.raises(InputError, match=r"is not as tfdlrm\.export wrote it"):
        export(
            ExportCommand(
                small_config.run_dir, tmp_path / "third", deployment=directory
            )
        )


@pytest.mark.serving
def test_tf_serving_answers_as_tensorflow_does(int8_exported):
    server = shutil.which("tensorflow_model_server")
    if server is None:
        pytest.skip("tensorflow_model_server is not on the PATH")
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    version, _ = int8_exported
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
                    probabilities = [
                        [label.score for label in row.classes]
                        for row in answer.result.classifications
                    ]
                    np.testing.assert_allclose(
                        probabilities, expected["scores"], rtol=1e-5
                    )
                elif spec.signature_name == "regress":
                    answer = stub.Regress(request, timeout=30, wait_for_ready=True)
                    probabilities = [row.value for row in answer.result.regressions]
                    np.testing.assert_allclose(
                        probabilities, expected["outputs"].ravel(), rtol=1e-5
                    )
                else:
                    answer = stub.Predict(request, timeout=30, wait_for_ready=True)
                    probabilities = tf.make_ndarray(answer.outputs["probability"])
                    np.testing.assert_allclose(
                        probabilities, expected["probability"], rtol=1e-5
                    )
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("name", ["m[1]", 'say "hi"', "a b", "$HOME", "größe"])
def test_a_deployment_of_any_name_is_read_back(tmp_path, name):
    (tmp_path / name).mkdir()
    directory = tmp_path / "deployment"
    for model in ("first", name):  # what is there is read before another is added
        write_deployment(directory, tmp_path / model)
    write_deployment(directory, tmp_path / "last")
    models = read_model_config(directory / "models.config").model_config_list.config
    assert {model.name for model in models} == {"first", name, "last"}
    (model,) = [model for model in models if model.name == name]
    assert not set(model.base_path) & set('*?[$" ')
    compose = yaml.safe_load((directory / "compose.yaml").read_text())
    volumes = compose["services"]["tensorflow_serving"]["volumes"]
    (source,) = [v["source"] for v in volumes if v["target"] == model.base_path]
    assert "$" not in source.replace("$$", "")  # Compose reads $$ as $
    assert (directory / source.replace("$$", "$")).samefile(tmp_path / name)
