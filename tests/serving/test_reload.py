"""Models, versions and labels that change while the server runs."""

import logging
import shutil
import threading
import time

import grpc
import numpy as np
import pytest
from google.protobuf.text_format import Parse
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from tests.support.served_model import expected, save_scores
from tests.support.serving_thread import embedded, predict_request, rows
from tfdlrm.base.errors import InputError
from tfdlrm.serving.config_file import ConfigFile
from tfdlrm.serving.metrics import Metrics
from tfdlrm.serving.model_versions import Model
from tfdlrm.serving.models import Models
from tfdlrm.serving.policies import ModelSettings, VersionPolicy, from_config
from tfdlrm.serving.server import ServerSettings
from tfdlrm.serving.text_protos import read_model_config

BIASES = {"a": {1: 1.0, 2: 2.0}, "b": {1: 5.0}}
"""Biases of the versions in each directory, which their answers show."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Directories `a` and `b` of versions, which tests copy to change them."""
    path = tmp_path_factory.mktemp("reload")
    for name, biases in BIASES.items():
        for version, bias in biases.items():
            save_scores(path / name / str(version), bias=bias)
    return path


def entry(path, name, policy="", labels=()):
    labelled = "".join(
        f" version_labels {{ key: '{label}' value: {version} }}"
        for label, version in labels
    )
    return (
        f"config {{ name: '{name}' base_path: '{path}' model_platform: 'tensorflow' "
        f"{policy}{labelled} }}"
    )


def only(*versions):
    numbers = " ".join(f"versions: {version}" for version in versions)
    return f"model_version_policy {{ specific {{ {numbers} }} }}"


def write(file, *entries):
    text = "\n".join(entries)
    temporary = file.with_suffix(".new")
    temporary.write_text(f"model_config_list {{ {text} }}")
    temporary.rename(file)


class Served:
    """Models of a config file, as a server has them."""

    def __init__(self, file, *entries, **options):
        write(file, *entries)
        self.file = file
        settings = from_config(read_model_config(file), file)
        self.models = Models(settings, Metrics(), **options)
        self.models.load()
        self.config = ConfigFile(file, self.models, retry_seconds=60.0)

    def change(self, *entries):
        write(self.file, *entries)
        self.config.look()

    @property
    def versions(self):
        return {model.settings.name: model.available for model in self.models}

    def labelled(self, name, label):
        with self.models.model(name).use(None, label) as servable:
            return servable.version


@pytest.fixture
def file(tmp_path):
    return tmp_path / "models.config"


def test_models_are_added_dropped_and_moved(saved, file):
    served = Served(file, entry(saved / "a", "m"))
    assert served.versions == {"m": [2]}
    served.change(entry(saved / "a", "m"), entry(saved / "b", "n"))
    assert served.versions == {"m": [2], "n": [1]}
    served.change(entry(saved / "b", "m"))
    assert served.versions == {"m": [1]}
    with served.models.model("m").use(None, "") as servable:
        assert servable.path == saved / "b" / "1"


def test_policies_and_labels_change(saved, file):
    served = Served(file, entry(saved / "a", "m", only(1), [("stable", 1)]))
    assert served.versions == {"m": [1]}
    labels = [("stable", 1), ("canary", 2)]
    served.change(entry(saved / "a", "m", only(1, 2), labels))
    assert served.versions == {"m": [2, 1]}
    assert served.labelled("m", "canary") == 2
    served.change(entry(saved / "a", "m", only(2), [("stable", 2)]))
    assert served.versions == {"m": [2]}
    assert served.labelled("m", "stable") == 2


def test_a_model_that_stays_is_not_loaded_again(saved, file, monkeypatch):
    served = Served(file, entry(saved / "a", "m"))
    loads = []
    load = Model._load

    def count(model, version, *arguments):
        loads.append((model.settings.name, version))
        return load(model, version, *arguments)

    monkeypatch.setattr(Model, "_load", count)
    served.change(entry(saved / "a", "m"), entry(saved / "b", "n"))
    served.config.look()
    assert loads == [("n", 1)]


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_config_list {", "Error parsing text-format tensorflow.serving.ModelSe"),
        ("", "has no model_config_list"),
        ("model_config_list { }", "has no model"),
        (None, "cannot be read"),
        ("nowhere", "has no version of a model to serve"),
        ("twice", "has the name m twice"),
        ("missing version", "has none of the versions that the policy names"),
    ],
)
def test_a_broken_config_keeps_the_models_and_says_so_once(
    saved, file, caplog, text, message
):
    served = Served(file, entry(saved / "a", "m"))
    model = served.models.model("m")
    if text is None:
        file.unlink()
    elif text == "nowhere":
        write(file, entry(saved / "b", "n"), entry(saved / "none", "m"))
    elif text == "twice":
        write(file, entry(saved / "b", "m"), entry(saved / "a", "m"))
    elif text == "missing version":
        write(file, entry(saved / "b", "n"), entry(saved / "a", "m", only(9)))
    else:
        file.write_text(text)
    for _ in range(3):
        served.config.look()
    assert served.versions == {"m": [2]}
    assert served.models.model("m") is model
    errors = [each for each in caplog.records if each.levelno == logging.ERROR]
    (line,) = [each.getMessage() for each in errors]
    assert line.startswith("the models stay as they are: ")
    assert message in line and "\n" not in line
    served.change(entry(saved / "b", "n"))
    assert served.versions == {"n": [1]}


def test_a_config_that_could_not_be_served_is_tried_again(saved, file, tmp_path):
    served = Served(file, entry(saved / "a", "m"))
    late = tmp_path / "late"
    served.change(entry(saved / "a", "m"), entry(late, "late"))
    shutil.copytree(saved / "b", late)
    served.config.look()
    assert served.versions == {"m": [2]}  # before retry_seconds are over
    served.config._retry_seconds = 0.0
    served.config.look()
    assert served.versions == {"m": [2], "late": [1]}


def test_a_label_in_use_does_not_move_to_a_version_that_is_not_served(
    saved, file, caplog
):
    served = Served(file, entry(saved / "a", "m", only(1, 2), [("stable", 1)]))
    for policy, version in ((only(1, 2), 7), (only(2), 1)):
        served.change(entry(saved / "a", "m", policy, [("stable", version)]))
        assert served.labelled("m", "stable") == 1
        assert served.versions == {"m": [2, 1]}
    assert "label stable of m is for version 7, which is not served then" in caplog.text


def test_a_new_label_may_wait_for_its_version_if_that_is_allowed(saved, file, caplog):
    labelled = entry(saved / "a", "m", only(1, 2), [("next", 7)])
    served = Served(file, entry(saved / "a", "m", only(1, 2)))
    served.change(labelled)
    assert served.models.model("m").settings.labels == {"next": 7}
    strict = Served(
        file, entry(saved / "a", "m", only(1, 2)), allows_missing_labels=False
    )
    strict.change(labelled)
    assert strict.models.model("m").settings.labels == {}
    assert "--allow_version_labels_for_unavailable_models" in caplog.text
    with pytest.raises(InputError, match="label next of m is for version 7"):
        Served(file, labelled, allows_missing_labels=False)


class Asking(threading.Thread):
    """Ask for a model until stopped; keep the answers that no version gives."""

    def __init__(self, address, label, stopped):
        super().__init__()
        self.address, self.stopped = address, stopped
        self.dense, self.ids = rows(2)
        self.request = predict_request(
            "m", dense_features=self.dense, categorical_features=self.ids
        )
        self.request.model_spec.version_label = label
        self.biases, self.problems = [], []

    def run(self):
        right = {
            bias: expected(self.dense, self.ids, bias).ravel()
            for biases in BIASES.values()
            for bias in biases.values()
        }
        with grpc.insecure_channel(self.address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not self.stopped.is_set():
                try:
                    response = stub.Predict(self.request, timeout=30)
                except grpc.RpcError as error:
                    self.problems.append(error)
                    continue
                answer = response.outputs["probability"].float_val
                biases = [b for b in right if np.allclose(answer, right[b], atol=1e-6)]
                self.biases.extend(biases or [None])


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


@pytest.mark.slow
def test_no_request_is_lost_while_the_config_file_changes(saved, file):
    stable = [("stable", 1)]
    write(file, entry(saved / "a", "m", only(1), stable))
    settings = ServerSettings(
        from_config(read_model_config(file), file),
        poll_seconds=0.05,
        config_file=file,
        config_poll_seconds=0.05,
    )
    stopped = threading.Event()
    with embedded(settings) as server:
        clients = [Asking(server.address, label, stopped) for label in ("", "stable")]
        for client in clients:
            client.start()

        def serve(served, *entries):
            write(file, *entries)
            model = server.models.model
            wait_until(lambda: "n" in server.models and model("n").available == served)

        for _ in range(3):
            both, second = only(1, 2), only(2)
            serve([1], entry(saved / "a", "m", both, stable), entry(saved / "b", "n"))
            serve(
                [2],
                entry(saved / "a", "m", second, [("stable", 2)]),
                entry(saved / "a", "n"),
            )
            serve([1], entry(saved / "b", "m", "", stable), entry(saved / "b", "n"))
            serve(
                [2],
                entry(saved / "a", "m", only(1), stable),
                entry(saved / "a", "n"),
            )
        file.write_text("broken")
        answers = len(clients[0].biases)
        wait_until(lambda: len(clients[0].biases) > answers + 20)
        stopped.set()
        for client in clients:
            client.join()
    for client in clients:
        assert client.problems == []
        assert set(client.biases) == {1.0, 2.0, 5.0}


def test_a_file_that_is_not_to_be_read_again_is_not(saved, file):
    write(file, entry(saved / "a", "m"))
    settings = ServerSettings(
        from_config(read_model_config(file), file), config_file=file
    )
    with embedded(settings):
        names = [thread.name for thread in threading.enumerate()]
    assert "model config" not in names


@pytest.fixture
def server(saved):
    models = [ModelSettings("m", saved / "a", VersionPolicy("specific", versions=(1,)))]
    with embedded(ServerSettings(models, poll_seconds=0)) as running:
        yield running


def reload(server, *entries):
    request = model_management_pb2.ReloadConfigRequest()
    if entries:
        Parse(f"model_config_list {{ {' '.join(entries)} }}", request.config)
    with grpc.insecure_channel(server.address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        return stub.HandleReloadConfigRequest(request, timeout=60)


def test_a_request_changes_the_models(saved, server):
    response = reload(server, entry(saved / "b", "n"), entry(saved / "a", "m"))
    assert (response.status.error_code, response.status.error_message) == (0, "")
    models = {model.settings.name: model.available for model in server.models}
    assert models == {"n": [1], "m": [2]}
    reload(server, entry(saved / "b", "n"))
    assert [model.settings.name for model in server.models] == ["n"]


def test_a_request_that_cannot_be_served_changes_nothing(saved, server):
    for entries, code, text in [
        ((), grpc.StatusCode.INVALID_ARGUMENT, "has no model_config_list"),
        (
            (entry(saved / "b", ""),),
            grpc.StatusCode.INVALID_ARGUMENT,
            "the request's config: model_name is ''",
        ),
        (
            (entry(saved / "b", "n"), entry(saved / "none", "m")),
            grpc.StatusCode.FAILED_PRECONDITION,
            "has no version of a model to serve",
        ),
    ]:
        with pytest.raises(grpc.RpcError) as caught:
            reload(server, *entries)
        assert caught.value.code() == code
        assert text in caught.value.details()
    assert {model.settings.name: model.available for model in server.models} == {
        "m": [1]
    }


def test_the_request_limits_of_predictions_are_not_those_of_a_reload(saved, server):
    entries = [entry(saved / "b", f"n{number}") for number in range(2)]
    large = entry(saved / "a", "m", "", [("x" * 100_000, 2)])
    reload(server, *entries, large)
    assert [model.settings.name for model in server.models] == ["n0", "n1", "m"]
