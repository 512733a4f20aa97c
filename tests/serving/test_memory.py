"""What a version takes is said before it is loaded, and refused if it cannot fit."""

import logging

import grpc
import pytest

from tests.support.served_model import expected, save_scores
from tests.support.serving_thread import embedded, get, post
from tfdlrm.base.errors import InputError
from tfdlrm.serving.errors import ServingError
from tfdlrm.serving.loading import Loading
from tfdlrm.serving.memory import VersionMemory, bytes_of_version
from tfdlrm.serving.metrics import Metrics
from tfdlrm.serving.models import Models
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings

MB = 10**6


def make_version(path, weights=0, assets=0):
    """Write a version's files of weights and vocabularies, of so many bytes."""
    for name, size in (("variables/variables.data", weights), ("assets/C1", assets)):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(bytes(size))
    return path


class Machine:
    """A machine whose process keeps the memory of what it unloads."""

    def __init__(self, free):
        self.free, self.resident = free, 600 * MB

    def memory(self):
        return VersionMemory(lambda: self.free, lambda: self.resident)

    def load(self, num_bytes):
        self.free -= num_bytes
        self.resident += num_bytes


def test_weights_and_vocabularies_take_memory(tmp_path):
    assert bytes_of_version(make_version(tmp_path / "1", 5000, 100)) == 5400
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "model.tflite").write_bytes(bytes(70))
    assert bytes_of_version(tmp_path / "2") == 70


def test_a_version_that_cannot_fit_is_refused_with_both_sizes(tmp_path):
    version = make_version(tmp_path / "3", 5000)
    memory = Machine(free=4999).memory()
    message = r"3 takes at least 5\.00 kB of memory, and 5\.00 kB are free: expected"
    with pytest.raises(ServingError, match=message) as raised:
        memory.reserve(version)
    assert raised.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert Machine(free=5000).memory().reserve(version) == 5000


def test_memory_that_tensorflow_kept_is_free_for_the_next_version(tmp_path):
    machine, version = Machine(free=25_000), make_version(tmp_path / "1", 10_000)
    memory = machine.memory()
    memory.reserve(version)
    machine.load(10_000)
    memory.reserve(version)  # next to it
    machine.load(10_000)
    with pytest.raises(ServingError, match=r"and 5\.00 kB are free"):
        memory.reserve(version)
    memory.release(10_000)  # the process keeps it
    assert memory.reserve(version) == 10_000
    memory.release(10_000)
    machine.resident -= 10_000  # here it does not, and another process took it
    with pytest.raises(ServingError, match=r"and 5\.00 kB are free"):
        memory.reserve(version)


def test_versions_that_are_loaded_at_a_time_do_not_count_the_same_memory(tmp_path):
    machine, version = Machine(free=15_000), make_version(tmp_path / "1", 10_000)
    memory = machine.memory()
    memory.reserve(version)
    with pytest.raises(ServingError, match="are free"):
        memory.reserve(version)


def test_the_old_version_is_kept_where_a_new_one_cannot_fit(tmp_path, caplog):
    caplog.set_level(logging.INFO, "tfdlrm.serving")
    free = 10**9
    memory = VersionMemory(lambda: free)
    base = tmp_path / "scores"
    save_scores(base / "1")
    settings = ServerSettings(
        [ModelSettings("scores", base)], poll_seconds=0, loading=Loading(memory=memory)
    )
    with embedded(settings) as server:
        assert (
            "loading: " in caplog.text and "of memory, and 1.00 GB are" in caplog.text
        )
        save_scores(base / "2", bias=1.0)
        free = 10
        server.models.model("scores").refresh()
        row = {"dense_features": [1.0, 2.0], "categorical_features": [3, 4]}
        status, answer = post(
            f"{server.url}/v1/models/scores:predict", {"instances": [row]}
        )
        statuses = get(f"{server.url}/v1/models/scores")[1]["model_version_status"]
    right = expected([row["dense_features"]], [row["categorical_features"]])
    assert status == 200
    assert answer["predictions"][0] == pytest.approx(right[0])
    refused = next(entry for entry in statuses if entry["version"] == "2")
    assert refused["status"]["error_code"] == "RESOURCE_EXHAUSTED"
    assert "and 10 B are free" in refused["status"]["error_message"]


def test_a_first_version_that_cannot_fit_ends_the_server(tmp_path):
    save_scores(tmp_path / "1")
    loading = Loading(memory=VersionMemory(lambda: 10))
    models = Models([ModelSettings("scores", tmp_path)], Metrics(), loading=loading)
    with pytest.raises(InputError, match=r"no version of scores loads; .* 10 B are"):
        models.load()


def test_unloaded_versions_give_their_memory_back(tmp_path):
    memory = VersionMemory()
    save_scores(tmp_path / "1")
    loading = Loading(memory=memory)
    models = Models([ModelSettings("scores", tmp_path)], Metrics(), loading=loading)
    models.load()
    assert memory._loaded == bytes_of_version(tmp_path / "1") > 0
    models.model("scores").acquire(None, "")._close()
    assert memory._loaded == 0
