"""The flags of tensorflow_model_server: with a meaning, without one, and unknown."""

import http.client
import logging
import re
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import grpc
import numpy as np
import pytest
from google.protobuf.text_format import Parse
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from tests.support.served_model import expected, save_scores
from tests.support.serving_thread import embedded, post, predict_request, rows
from tfdlrm import serve
from tfdlrm.base.command_line import parse
from tfdlrm.base.errors import InputError
from tfdlrm.serving.flags import ServeCommand
from tfdlrm.serving.foreign_flags import WITH_VALUE, WITHOUT_VALUE, take_foreign
from tfdlrm.serving.limits import Limits
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.servable import Servable
from tfdlrm.serving.server import ServerSettings

TF_SERVING = [
    "port",
    "grpc_socket_path",
    "grpc_channel_arguments",
    "grpc_max_threads",
    "enable_grpc_healthcheck_service",
    "rest_api_port",
    "rest_api_num_threads",
    "rest_api_timeout_in_ms",
    "rest_api_enable_cors_support",
    "enable_batching",
    "batching_parameters_file",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "allow_version_labels_for_unavailable_models",
    "model_name",
    "model_base_path",
    "num_load_threads",
    "num_unload_threads",
    "max_num_load_retries",
    "load_retry_interval_micros",
    "file_system_poll_wait_seconds",
    "flush_filesystem_caches",
    "tensorflow_session_parallelism",
    "tensorflow_session_config_file",
    "tensorflow_intra_op_parallelism",
    "tensorflow_inter_op_parallelism",
    "ssl_config_file",
    "per_process_gpu_memory_fraction",
    "saved_model_tags",
    "enable_model_warmup",
    "enable_signature_method_name_check",
    "prefer_tflite_model",
    "enable_profiler",
    "num_request_iterations_for_warmup",
    "version",
    "monitoring_config_file",
]
"""Flags of tensorflow_model_server 2.17 that have a meaning here."""

WITHOUT_MEANING = [
    "enable_per_model_batching_parameters",
    "use_alts_credentials",
    "platform_config_file",
    "remove_unused_fields_from_bundle_metagraph",
    "num_tflite_pools",
    "num_tflite_interpreters_per_pool",
    "xla_cpu_compilation_enabled",
    "xla_gpu_compilation_enabled",
    "thread_pool_factory_config_file",
    "mixed_precision",
    "skip_initialize_tpu",
    "enable_serialization_as_tensor_content",
]


def command(text):
    words, _ = take_foreign(text.split())
    return parse(ServeCommand, "tfdlrm.serve", serve.arguments(words))


def settings(text):
    return serve.settings(command(text))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Directory of one version of `scores`."""
    return save_scores(tmp_path_factory.mktemp("flags") / "scores" / "1").parent


def ask(address):
    """Ask a server of `scores` over gRPC, and check its answer."""
    dense, ids = rows(2)
    request = predict_request("scores", dense_features=dense, categorical_features=ids)
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(request, timeout=30)
    answer = response.outputs["probability"].float_val
    np.testing.assert_allclose(answer, expected(dense, ids).ravel(), atol=1e-6)


def test_flags_of_tf_serving_are_taken_by_name():
    fields = ServeCommand.__dataclass_fields__
    assert [flag for flag in TF_SERVING if flag not in fields] == []
    foreign = {**WITHOUT_VALUE, **WITH_VALUE}
    assert [flag for flag in WITHOUT_MEANING if flag not in foreign] == []
    assert set(fields).isdisjoint(foreign)


@pytest.mark.parametrize(
    ("spelling", "is_on"),
    [
        ("--rest_api_enable_cors_support", True),
        ("--rest_api_enable_cors_support=true", True),
        ("--rest_api_enable_cors_support true", True),
        ("--rest_api_enable_cors_support=false", False),
        ("--rest_api_enable_cors_support false", False),
        ("", False),
    ],
)
def test_a_switch_is_given_alone_or_with_a_value(spelling, is_on):
    parsed = command(f"models/m {spelling} --port 1 --rest_api_timeout_in_ms=5000")
    assert parsed.rest_api_enable_cors_support is is_on
    assert (parsed.port, parsed.rest_api_timeout_in_ms) == (1, 5000)


@pytest.mark.parametrize(
    "spelling",
    [
        "--platform_config_file x.txt",
        "--platform_config_file=x.txt",
        "--use_alts_credentials",
        "--use_alts_credentials=true",
        "--use_alts_credentials false",
        "--mixed_precision bfloat16 --mixed_precision=none",
    ],
)
def test_a_flag_without_a_meaning_is_accepted_with_one_line(spelling):
    words, lines = take_foreign(["models/m", *spelling.split(), "--port", "1"])
    assert words == ["models/m", "--port", "1"]
    (line,) = lines
    assert re.match(r"--\w+ has no effect here: \w", line)


def test_the_model_of_a_container_gives_way_to_a_model_config_file():
    text = "--model_name=m --model_base_path /models/m --model_config_file=models.txt"
    words, lines = take_foreign(text.split())
    assert words == ["--model_config_file=models.txt"]
    assert [line.split()[0] for line in lines] == ["--model_name", "--model_base_path"]
    assert take_foreign(["--model_name=m", "models/m"]) == (
        ["--model_name=m", "models/m"],
        [],
    )


def test_a_file_may_be_empty_in_a_script():
    text = "models/m --model_config_file= --batching_parameters_file= --port=1"
    words, lines = take_foreign(text.split())
    assert words == ["models/m", "--port=1"]
    assert [line.split()[0] for line in lines] == text.split()[1:3]
    with pytest.raises(InputError, match="--ssl_config_file is empty"):
        command("models/m --ssl_config_file=")


def test_the_command_logs_flags_without_a_meaning(base, monkeypatch, caplog):
    served = []
    monkeypatch.setattr("tfdlrm.serving.server.serve", served.append)
    monkeypatch.setattr(serve, "use_device", lambda device: None)
    argv = ["serve", str(base), "--skip_initialize_tpu", "--num_tflite_pools=2"]
    monkeypatch.setattr(sys, "argv", argv)
    with caplog.at_level(logging.INFO, "tfdlrm.serving"):
        serve.main()
    assert len(served) == 1
    flags = [record.getMessage().split()[0] for record in caplog.records]
    assert flags == ["--skip_initialize_tpu", "--num_tflite_pools"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--enable_batchin", "did you mean --enable_batching"),
        ("--tpu_address=x", "unrecognized arguments: --tpu_address=x"),
        ("--rest_api_timeout_in_ms=-1", "rest_api_timeout_in_ms is -1"),
        ("--rest_api_timeout_in_ms=soon", "expected a whole number"),
        ("--grpc_max_threads=-1", "grpc_max_threads is -1"),
        ("--enable_model_warmup=maybe", "expected true or false"),
    ],
)
def test_unknown_flags_and_wrong_values_are_refused(arguments, message):
    with pytest.raises(InputError) as caught:
        command(f"models/m {arguments}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "--grpc_channel_arguments=grpc.max_age",
            "'grpc.max_age', expected name=value",
        ),
        ("--grpc_channel_arguments==1", "'=1', expected name=value"),
        ("--saved_model_tags=serve,", "'serve,', expected tags"),
        ("--num_load_threads=-1", "num_load_threads is -1"),
        ("--max_num_load_retries=-1", "max_num_load_retries is -1"),
        ("--tensorflow_intra_op_parallelism=-1", "is -1, expected >= 0"),
        ("--per_process_gpu_memory_fraction=1.5", "a number between 0 and 1"),
        (
            "--tensorflow_session_parallelism=2 --tensorflow_inter_op_parallelism=2",
            "leave it or them out",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(InputError) as caught:
        settings(f"models/m {arguments}")
    assert message in str(caught.value)


def test_version_prints_both_versions_and_ends(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["serve", "--version"])
    serve.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "TensorFlow ModelServer",
        "TensorFlow Library",
    ]
    assert re.search(r": \d+\.\d+", lines[1])


def test_grpc_takes_channel_arguments():
    parsed = settings(
        "models/m --grpc_channel_arguments=grpc.max_connection_age_ms=2000,"
        "grpc.lb_policy_name=grpclb --port=1"
    )
    assert parsed.channel_arguments == {
        "grpc.max_connection_age_ms": 2000,
        "grpc.lb_policy_name": "grpclb",
    }


def test_a_channel_argument_takes_precedence(base):
    models = [ModelSettings("scores", base)]
    limit = {"grpc.max_receive_message_length": 10}
    with (
        embedded(
            ServerSettings(models, poll_seconds=0, channel_arguments=limit)
        ) as server,
        pytest.raises(grpc.RpcError) as caught,
    ):
        ask(server.address)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_grpc_answers_on_a_socket_and_on_a_port(base, tmp_path):
    path = tmp_path / "grpc.sock"
    parsed = settings(f"{base} --grpc_socket_path={path} --port=1")
    assert parsed.grpc.address == "127.0.0.1:1"
    assert settings(f"{base} --grpc_socket_path={path} --port=0").grpc.address is None
    models = [ModelSettings("scores", base)]
    both = ServerSettings(models, poll_seconds=0, socket_path=path)
    with embedded(both) as server:
        ask(f"unix:{path}")
        assert f"gRPC unix:{path}" in str(server)
        with (
            pytest.raises(InputError, match="where another server answers"),
            embedded(both),
        ):
            raise AssertionError("two servers on one socket")
        ask(f"unix:{path}")


def test_a_socket_that_a_killed_server_left_is_taken(base, tmp_path):
    path = tmp_path / "grpc.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    models = [ModelSettings("scores", base)]
    with embedded(ServerSettings(models, poll_seconds=0, socket_path=path)):
        ask(f"unix:{path}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file", "where a file is that is no socket"),
        ("none/grpc.sock", "there is no directory"),
        ("x" * 200, "expected a path of at most 107 bytes"),
    ],
)
def test_a_path_that_can_be_no_socket_is_refused(base, tmp_path, name, message):
    (tmp_path / "file").touch()
    models = [ModelSettings("scores", base)]
    path = tmp_path / name
    wrong = ServerSettings(models, poll_seconds=0, socket_path=path)
    with pytest.raises(InputError, match=message), embedded(wrong):
        raise AssertionError("it cannot be listened at")


def test_health_checks_can_be_turned_off(base):
    models = [ModelSettings("scores", base)]
    off = ServerSettings(models, poll_seconds=0, has_health=False)
    check = health_pb2.HealthCheckRequest()
    with (
        embedded(off) as server,
        grpc.insecure_channel(server.address) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        health_pb2_grpc.HealthStub(channel).Check(check, timeout=30)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_threads_of_sessions_are_set(base, tmp_path):
    file = tmp_path / "session.txt"
    file.write_text("intra_op_parallelism_threads: 3 log_device_placement: true")
    parsed = settings(
        f"{base} --tensorflow_session_config_file={file} "
        "--tensorflow_inter_op_parallelism=2 --per_process_gpu_memory_fraction=0.5"
    )
    expected_session = Parse(
        "intra_op_parallelism_threads: 3 inter_op_parallelism_threads: 2 "
        "log_device_placement: true "
        "gpu_options { per_process_gpu_memory_fraction: 0.5 }",
        config_pb2.ConfigProto(),
    )
    assert parsed.loading.session == expected_session
    servable = Servable("scores", 1, base / "1", parsed.loading)
    session = servable._session._config
    assert session.intra_op_parallelism_threads == 3
    assert session.inter_op_parallelism_threads == 2
    assert not parsed.loading.runs_in_caller
    dense, ids = rows(2)
    (answer,) = servable.signature("").run(ids, dense)
    np.testing.assert_allclose(answer, expected(dense, ids), atol=1e-6)


def test_session_parallelism_sets_both_kinds_of_threads():
    session = settings("models/m --tensorflow_session_parallelism=2").loading.session
    assert session.intra_op_parallelism_threads == 2
    assert session.inter_op_parallelism_threads == 2
    assert settings("models/m").loading.session is None


def test_other_tags_choose_another_graph(base):
    text = "--saved_model_tags=serve,gpu"
    loading = settings(f"{base} {text}").loading
    assert loading.tags == ("serve", "gpu")
    with pytest.raises(Exception, match="gpu"):
        Servable("scores", 1, base / "1", loading)


def test_pages_of_other_sites_may_ask_where_they_are_allowed_to(base):
    models = [ModelSettings("scores", base)]
    settings = ServerSettings(models, poll_seconds=0, answers_other_sites=True)
    with embedded(settings) as server:
        for method, path in (
            ("OPTIONS", ":predict"),
            ("GET", ""),
            ("POST", ":predict"),
        ):
            answer = ask_page(f"{server.url}/v1/models/scores{path}", method)
            assert answer.headers["access-control-allow-origin"] == "*"
        preflight = ask_page(f"{server.url}/v1/models/scores:predict", "OPTIONS")
        assert preflight.status == 200
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert "content-type" in preflight.headers["access-control-allow-headers"]


def test_other_sites_get_no_permission_otherwise(base):
    models = [ModelSettings("scores", base)]
    with embedded(ServerSettings(models, poll_seconds=0)) as server:
        answer = ask_page(f"{server.url}/v1/models/scores:predict", "OPTIONS")
    assert answer.status == 400
    assert answer.headers["access-control-allow-origin"] is None


def ask_page(url, method):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request(method, parts.path, b"{}" if method == "POST" else None)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def test_rest_has_a_time_limit_of_its_own():
    parsed = settings("models/m --rest_api_timeout_in_ms=5000")
    assert (parsed.rest_limits.seconds, parsed.limits.seconds) == (5.0, 30.0)
    parsed = settings("models/m --request_timeout_seconds=7")
    assert parsed.rest_limits.seconds == 7.0


def test_answers_list_unknown_values_only_on_request():
    assert not settings("models/m").reports_unknown
    assert settings("models/m --report_unknown").reports_unknown
    with pytest.raises(InputError, match="--report_unknown has no effect with"):
        settings("models/m --report_unknown --rest_api_port=0")


def post_rows(server):
    dense, ids = rows(2)
    inputs = {"dense_features": dense.tolist(), "categorical_features": ids.tolist()}
    return post(f"{server.url}/v1/models/scores:predict", {"inputs": inputs})


def replace_run(server, monkeypatch, replacement):
    """Let a function of the usual run and its inputs run `scores`."""
    with server.models.model("scores").use(None, "") as servable:
        signature = servable.signature("")
    run = signature.run
    monkeypatch.setattr(signature, "run", lambda *inputs: replacement(run, inputs))


def test_rest_gives_up_after_its_time(base, monkeypatch):
    models = [ModelSettings("scores", base)]
    settings = ServerSettings(models, poll_seconds=0, rest_seconds=0.2)
    release = threading.Event()

    def wait(run, inputs):
        release.wait(30)
        return run(*inputs)

    with embedded(settings) as server:
        replace_run(server, monkeypatch, wait)
        try:
            status, answer = post_rows(server)
        finally:
            release.set()
    assert status == 504 and "no answer within 0.2 s" in answer["error"]


class Overlaps:
    """Runs of a model that stay a moment, to meet others."""

    def __init__(self):
        self.lock, self.meeting = threading.Lock(), threading.Event()
        self.running = self.most = 0

    def __call__(self, run, inputs):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        if self.running > 1:
            self.meeting.set()
        self.meeting.wait(0.2)
        outputs = run(*inputs)
        with self.lock:
            self.running -= 1
        return outputs


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    ("setting", "ask_server"),
    [
        ("grpc_turns", lambda server: ask(server.address)),
        ("rest_turns", post_rows),
    ],
)
@pytest.mark.parametrize("most", [1, None])
def test_so_many_requests_are_answered_at_a_time(
    base, monkeypatch, setting, ask_server, most
):
    settings = ServerSettings(
        [ModelSettings("scores", base)],
        poll_seconds=0,
        is_batching=False,
        **{setting: most},
    )
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    overlaps = Overlaps()
    with embedded(settings) as server, ThreadPoolExecutor(3) as clients:
        replace_run(server, monkeypatch, overlaps)
        list(clients.map(ask_server, [server] * 3))
    assert overlaps.most == (most or 2)


def test_a_request_that_gets_no_turn_in_time_is_told_so(base, monkeypatch):
    settings = ServerSettings(
        [ModelSettings("scores", base)],
        poll_seconds=0,
        grpc_turns=1,
        limits=Limits(seconds=0.3),
    )
    started, release = threading.Event(), threading.Event()

    def wait(run, inputs):
        started.set()
        release.wait(30)
        return run(*inputs)

    def code(server):
        with pytest.raises(grpc.RpcError) as caught:
            ask(server.address)
        return caught.value.code()

    with embedded(settings) as server, ThreadPoolExecutor(1) as clients:
        replace_run(server, monkeypatch, wait)
        first = clients.submit(code, server)
        started.wait(30)
        second = code(server)
        release.set()
        codes = [first.result(30), second]
    assert codes == [grpc.StatusCode.DEADLINE_EXCEEDED] * 2
