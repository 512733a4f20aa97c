"""How versions are loaded: warm-up, tries, threads and the system's memory of files."""

import os
import threading
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tests.support.served_model import save_scores
from tests.support.serving_thread import predict_request, rows
from tfdlrm import serve
from tfdlrm.base.errors import InputError
from tfdlrm.exporting.versions import EXTRA_DIRECTORY, WARM_UP_FILE
from tfdlrm.serving import models as models_module
from tfdlrm.serving import warmup
from tfdlrm.serving.flags import ServeCommand
from tfdlrm.serving.loading import Loading, drop_file_caches
from tfdlrm.serving.metrics import Metrics
from tfdlrm.serving.models import Models
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.servable import Servable


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Directory of one version of `scores`, which has two warm-up requests."""
    base = tmp_path_factory.mktemp("loading") / "scores"
    extra = save_scores(base / "1") / EXTRA_DIRECTORY
    extra.mkdir(exist_ok=True)
    dense, ids = rows(2)
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(
        predict_request("scores", dense_features=dense, categorical_features=ids)
    )
    with tf.io.TFRecordWriter(str(extra / WARM_UP_FILE)) as writer:
        for _ in range(2):
            writer.write(log.SerializeToString())
    return base


def loading(**flags):
    return serve.settings(ServeCommand(Path("models/m"), **flags)).loading


@pytest.mark.parametrize(
    ("flags", "number"),
    [
        ({}, 2),
        ({"num_request_iterations_for_warmup": 3}, 6),
        ({"enable_model_warmup": False}, 0),
        ({"enable_model_warmup": False, "num_request_iterations_for_warmup": 3}, 0),
    ],
)
def test_warm_up_requests_are_answered_so_many_times(base, monkeypatch, flags, number):
    replayed = []
    replay = warmup._replay

    def count(servable, log):
        replayed.append(log)
        replay(servable, log)

    monkeypatch.setattr(warmup, "_replay", count)
    settings = [ModelSettings("scores", base)]
    Models(settings, Metrics(), loading=loading(**flags)).load()
    assert len(replayed) == number


def test_tries_and_their_interval_are_set():
    usual = loading()
    assert (usual.max_retries, usual.retry_seconds) == (5, 60.0)
    given = loading(max_num_load_retries=0, load_retry_interval_micros=250_000)
    assert (given.max_retries, given.retry_seconds) == (0, 0.25)


def test_so_many_models_are_loaded_at_the_same_time(base, monkeypatch):
    meeting = threading.Barrier(3, timeout=30)
    load = models_module._load

    def load_together(model):
        meeting.wait()  # fails unless all three meet
        load(model)

    monkeypatch.setattr(models_module, "_load", load_together)
    settings = [ModelSettings(f"m{number}", base) for number in range(3)]
    models = Models(settings, Metrics(), loading=loading(num_load_threads=3))
    models.load()
    assert [model.available for model in models] == [[1]] * 3


def test_a_model_that_does_not_load_is_told_by_any_thread(base, tmp_path):
    settings = [ModelSettings("good", base), ModelSettings("bad", tmp_path)]
    models = Models(settings, Metrics(), loading=Loading(load_threads=2))
    with pytest.raises(InputError, match="has no version of a model to serve"):
        models.load()


def test_so_many_versions_are_unloaded_at_the_same_time(base):
    one_at_a_time = Loading(unload_threads=1)
    servables = [Servable("m", 1, base / "1", one_at_a_time) for _ in range(2)]
    with one_at_a_time.unloading:
        for servable in servables:
            servable.retire()
        assert all(servable.signatures for servable in servables)
    for thread in threading.enumerate():
        if thread.name.startswith("unload "):
            thread.join(30)
    assert not any(servable.signatures for servable in servables)


def test_files_leave_the_memory_only_where_that_is_wanted(base, monkeypatch):
    dropped = []

    def note(descriptor, *_):
        dropped.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    monkeypatch.setattr(os, "posix_fadvise", note)
    settings = [ModelSettings("scores", base)]
    Models(settings, Metrics(), loading=loading()).load()
    assert dropped == []
    flushing = loading(flush_filesystem_caches=True)
    Models(settings, Metrics(), loading=flushing).load()
    assert str(base / "1" / "saved_model.pb") in dropped


def test_files_stay_readable_after_they_left_the_memory(base):
    before = (base / "1" / "saved_model.pb").read_bytes()
    drop_file_caches(base / "1")
    assert (base / "1" / "saved_model.pb").read_bytes() == before
