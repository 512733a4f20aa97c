"""New versions and broken ones, without losing an answer."""

import os
import shutil
import sys
import threading
import time
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from unittest.mock import Mock, patch

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from tests.support.served_model import expected, save_scores
from tests.support.serving_process import serving
from tests.support.serving_thread import embedded, get, post, predict_request, rows
from tfdlrm.base.device_names import cpu
from tfdlrm.base.errors import InputError
from tfdlrm.exporting.versions import (
    EXTRA_DIRECTORY,
    MAX_VERSION,
    WARM_UP_FILE,
    new_version,
    versions_in,
)
from tfdlrm.serving import model_versions
from tfdlrm.serving.loading import Loading
from tfdlrm.serving.metrics import Metrics
from tfdlrm.serving.models import Models
from tfdlrm.serving.policies import ModelSettings, VersionPolicy
from tfdlrm.serving.servable import Servable
from tfdlrm.serving.server import ServerSettings, serve


def load(path, policy=None, loading=None):
    settings = ModelSettings("scores", path, policy or VersionPolicy())
    loaded_models = Models([settings], Metrics(), loading=loading)
    loaded_models.load()
    return loaded_models.model("scores")


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Directory of versions 1 and 2, which tests copy to change them."""
    path = tmp_path_factory.mktemp("versions")
    save_scores(path / "1", bias=1.0)
    save_scores(path / "2", bias=2.0)
    return path


@pytest.fixture
def base(versions, tmp_path):
    return shutil.copytree(versions, tmp_path / "scores")


def break_version(base, number):
    copy = shutil.copytree(base / "1", base / f"_{number}")
    (copy / "variables" / "variables.data-00000-of-00001").write_bytes(b"nothing")
    copy.rename(base / str(number))


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        (VersionPolicy(), [2]),
        (VersionPolicy("latest", count=5), [2, 1]),
        (VersionPolicy("all"), [2, 1]),
        (VersionPolicy("specific", versions=(1, 9)), [1]),
    ],
)
def test_the_policy_says_which_versions_are_served(base, policy, served):
    assert load(base, policy).available == served


def test_a_broken_version_leaves_its_place_to_the_one_before(base):
    break_version(base, 3)
    model = load(base)
    assert model.available == [2]
    assert model.statuses[3].error is not None
    # It is tried again as soon as its files have changed.
    shutil.rmtree(base / "3")
    model.refresh()
    shutil.copytree(base / "1", base / "3")
    model.refresh()
    assert model.available == [3]


def test_a_version_that_fails_its_warm_up_does_not_stay_in_memory(base, monkeypatch):
    copy = shutil.copytree(base / "1", base / "_3")
    (copy / EXTRA_DIRECTORY).mkdir(exist_ok=True)
    (copy / EXTRA_DIRECTORY / WARM_UP_FILE).write_bytes(b"no record")
    copy.rename(base / "3")
    retired = []
    monkeypatch.setattr(Servable, "retire", lambda self: retired.append(self.version))
    model = load(base)
    assert (model.available, retired) == ([2], [3])
    error = model.statuses[3].error
    assert error.__traceback__ is error.__cause__ is error.__context__ is None


def test_a_version_whose_files_still_arrive_is_tried_once_a_look(base, monkeypatch):
    break_version(base, 3)
    looks = count()
    monkeypatch.setattr(
        model_versions, "fingerprint", lambda path: (("a file", 1, next(looks)),)
    )
    assert load(base).available == [2]
    assert next(looks) < 10


def test_a_version_that_does_not_load_is_tried_again_a_few_times(base, monkeypatch):
    break_version(base, 3)
    model, path = load(base, loading=Loading(max_retries=2)), str(base / "3")
    attempts = []
    monkeypatch.setattr(
        model, "_metrics", Mock(count_load=lambda *it: attempts.append(it))
    )
    model.refresh()
    assert not attempts  # before it is time
    at_once = Loading(max_retries=2, retry_seconds=-1.0)
    monkeypatch.setattr(model, "_loading", at_once)
    for _ in range(10):
        model.refresh()
    assert [attempt[:2] for attempt in attempts] == [(path, "fail")] * 2
    (base / "3" / "saved_model.pb").touch()
    model.refresh()
    assert len(attempts) == 3
    assert model.available == [2]


def test_a_directory_that_cannot_be_read_is_said(base, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(model_versions, "versions_in", refuse)
    with pytest.raises(InputError, match=r"scores cannot be read: .*Permission denied"):
        load(base)


def test_a_version_that_is_gone_gives_way_and_an_empty_directory_does_not(base):
    model = load(base)
    shutil.rmtree(base / "2")
    model.refresh()
    assert model.available == [1]
    shutil.rmtree(base / "1")
    model.refresh()
    assert model.available == [1]


def test_half_written_versions_and_other_files_are_no_versions(base):
    (base / ".3.partial").mkdir()
    (base / "notes").mkdir()
    (base / "4").write_text("a file")
    (base / "٣").mkdir()
    assert load(base).available == [2]


def test_of_two_directories_of_one_number_the_plain_one_is_served(base, caplog):
    shutil.copytree(base / "1", base / "03")
    model = load(base)
    assert model.available == [3]
    shutil.move(base / "2", base / "3")
    caplog.clear()
    for _ in range(3):
        assert versions_in(base)[3] == base / "3"
    (record,) = caplog.records
    assert f"03 is no version: {base / '3'} has its number" in record.getMessage()


def test_no_version_is_written_beyond_the_last_number(base):
    shutil.move(base / "2", base / str(MAX_VERSION))
    assert load(base).available == [MAX_VERSION]
    with (
        pytest.raises(InputError, match="version 9223372036854775807, the highest"),
        new_version(base),
    ):
        raise AssertionError("nothing is to be written")


def test_what_cannot_be_served_is_said_at_once(base, tmp_path):
    with pytest.raises(InputError, match=r"expected the directory of its versions"):
        load(base / "1")
    with pytest.raises(InputError, match=r"no version of a model to serve"):
        load(tmp_path / "nothing")
    for number in (1, 2):
        shutil.rmtree(base / str(number), ignore_errors=True)
        (base / str(number)).mkdir()
        (base / str(number) / "saved_model.pb").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"no version of scores loads; .*scores/2: "):
        load(base)


class Asking(threading.Thread):
    """Ask until stopped; check that every answer is that of its rows and a version."""

    def __init__(self, address, seed, biases):
        super().__init__()
        self.address, self.biases = address, biases
        self.dense, self.ids = rows(2, seed)
        self.stopped = threading.Event()
        self.versions = []
        self.problems = []

    def run(self):
        request = predict_request(
            "scores", dense_features=self.dense, categorical_features=self.ids
        )
        with grpc.insecure_channel(self.address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not self.stopped.is_set():
                self.ask(stub, request)

    def ask(self, stub, request):
        try:
            response = stub.Predict(request, timeout=20)
        except grpc.RpcError as error:
            self.problems.append(str(error))
            return
        version = response.model_spec.version.value
        answer = np.array(response.outputs["probability"].float_val)
        right = expected(self.dense, self.ids, self.biases[version]).ravel()
        if np.abs(answer - right).max() > 1e-5:
            self.problems.append(f"version {version}: {answer}, expected {right}")
        self.versions.append(version)


def swap_while_asked(base, number, swaps, seconds, at_least=0):
    """Ask from several threads while versions come; return the answers' versions."""
    biases = {1: 1.0, 2: 2.0} | {
        version: version / 2 for version in range(3, 3 + swaps)
    }
    settings = ServerSettings([ModelSettings("scores", base)], poll_seconds=0.05)
    with embedded(settings) as server:
        clients = [Asking(server.address, seed, biases) for seed in range(number)]
        for client in clients:
            client.start()
        for version in range(3, 3 + swaps):
            time.sleep(seconds)
            save_scores(base / str(version), bias=biases[version])
            break_version(base, version + 1000)
            shutil.rmtree(base / str(version + 1000))
        model = server.models.model("scores")
        deadline = time.monotonic() + 30
        while model.available != [2 + swaps] and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(seconds)
        while sum(len(client.versions) for client in clients) < at_least and not any(
            client.problems for client in clients
        ):
            time.sleep(0.1)
        for client in clients:
            client.stopped.set()
        for client in clients:
            client.join()
    assert [problem for client in clients for problem in client.problems] == []
    return [version for client in clients for version in client.versions]


def test_versions_are_swapped_without_losing_or_mixing_up_an_answer(base):
    versions = swap_while_asked(base, number=4, swaps=2, seconds=0.3)
    assert set(versions) == {2, 3, 4}
    assert len(versions) > 100


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_answered_while_versions_are_swapped(base):
    requests = 100_000 // 2  # of two rows each
    versions = swap_while_asked(base, 32, swaps=20, seconds=1.0, at_least=requests)
    assert len(versions) >= requests
    assert set(versions) >= {2, 22}


@pytest.mark.slow
def test_the_command_serves_swaps_and_stops_in_good_order(base, tmp_path):
    dense, ids = rows(2)
    inputs = {"dense_features": dense.tolist(), "categorical_features": ids.tolist()}
    options = ["--model_name=m", "--file_system_poll_wait_seconds=0.1"]
    with serving(base, *options, "--enable_batching") as server:
        url = f"{server.url}/v1/models/m"
        status, answer = post(f"{url}:predict", {"inputs": inputs})
        assert status == 200
        np.testing.assert_allclose(
            answer["outputs"], expected(dense, ids, 2.0), atol=1e-6
        )
        settings = ServerSettings([ModelSettings("m", base)], port=server.port)
        with pytest.raises(InputError, match="free --port"):
            serve(replace(settings, rest_port=None))
        break_version(base, 3)
        save_scores(base / "4", bias=4.0)
        while get(url)[1]["model_version_status"][0].get("state") != "AVAILABLE":
            time.sleep(0.1)
        _, answer = post(f"{url}:predict", {"inputs": inputs})
        np.testing.assert_allclose(
            answer["outputs"], expected(dense, ids, 4.0), atol=1e-6
        )
        # It is asked to stop while it loads a version whose files do not come.
        shutil.copytree(base / "1", base / "_5")
        index = base / "_5" / "variables" / "variables.index"
        index.unlink()
        os.mkfifo(index)
        (base / "_5").rename(base / "5")
        while get(url)[1]["model_version_status"][0]["state"] != "LOADING":
            time.sleep(0.1)
    assert server.process.returncode == 0
    assert "stopping" in "".join(server.log)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "expected a directory of a model's versions"),
        ("nowhere", "nowhere has no version of a model to serve"),
        ("x --port=70000", "port is 70000"),
        ("--model_config_file=none.txt", "none.txt cannot be read"),
        ("x --batching_parameters_file=bad.txt", "is no BatchingParameters"),
        ("x --max_rows=0", "rows is 0"),
    ],
)
def test_bad_arguments_are_said_in_one_line(arguments, message, tmp_path, monkeypatch):
    from tfdlrm import serve

    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.txt").write_text("max_batch_size: many")
    argv = serve.arguments(arguments.split())
    monkeypatch.setattr(sys, "argv", ["serve", *argv])
    with pytest.raises(InputError) as caught:
        serve.main()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_version_names_the_device_that_it_is_on(base):
    servable = Servable("scores", 1, base / "1")
    assert servable.device == cpu()
    gpu = SimpleNamespace(
        name="/job:localhost/replica:0/task:0/device:GPU:0", device_type="GPU"
    )
    with patch.object(servable._session, "list_devices", return_value=[gpu]):
        assert servable.device == "a GPU (GPU:0)"
