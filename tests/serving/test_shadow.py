"""Another version answers a share of the requests too, and nobody notices."""

import asyncio
import re
import time

import numpy as np
import pytest

from tests.support.served_model import expected, save_scores
from tests.support.serving_thread import embedded, get, post, rows
from tfdlrm.base.errors import InputError
from tfdlrm.serve import ServeCommand
from tfdlrm.serving import shadow
from tfdlrm.serving.metrics import Histogram
from tfdlrm.serving.policies import ModelSettings, VersionPolicy
from tfdlrm.serving.server import ServerSettings
from tfdlrm.serving.shadow import ShadowSettings, compare

METRICS = "/monitoring/prometheus/metrics"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("shadow") / "scores"
    save_scores(path / "1")
    save_scores(path / "2", bias=1.0)
    return path


def settings(saved, share=1.0, **labels):
    both = VersionPolicy("specific", versions=(1, 2))
    labels = labels or {"stable": 1, "canary": 2}
    model = ModelSettings("scores", saved, both, labels)
    return ServerSettings([model], shadow=ShadowSettings("canary", share))


def ask(server, dense, ids, label="stable"):
    """Return the probabilities of one request."""
    instances = [
        {"dense_features": x.tolist(), "categorical_features": y.tolist()}
        for x, y in zip(dense, ids, strict=True)
    ]
    url = f"{server.url}/v1/models/scores/labels/{label}:predict"
    status, answer = post(url, {"instances": instances})
    assert status == 200, answer
    return np.array(answer["predictions"])


def metrics(server):
    """Return the values of the metrics of shadows by name and labels."""
    lines = get(f"{server.url}{METRICS}")[1].splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith(":tfdlrm:"))
    return {name: float(value) for name, value in pairs}


def wait_for(server, status, number):
    """Return the metrics when so many requests have been run by the other version."""
    name = f':tfdlrm:serving:shadow_requests{{model_name="scores",status="{status}"}}'
    deadline = time.monotonic() + 30
    while (values := metrics(server)).get(name, 0) < number:
        assert time.monotonic() < deadline, values
        time.sleep(0.01)
    return values


def test_answers_are_compared_and_those_of_the_shadow_never_sent(saved):
    dense, ids = rows(5)
    with embedded(settings(saved)) as server:
        answers = [ask(server, dense, ids) for _ in range(3)]
        values = wait_for(server, "OK", 3)
    for answer in answers:
        np.testing.assert_allclose(answer, expected(dense, ids), rtol=1e-6)
    versions = '{model_name="scores",version="1",shadow_version="2"}'
    distances = np.abs(expected(dense, ids, 1.0) - expected(dense, ids))
    name = ":tfdlrm:serving:shadow_difference"
    assert values[f"{name}_count{versions}"] == 15
    mean = values[f"{name}_sum{versions}"] / 15
    assert mean == pytest.approx(distances.mean(), rel=1e-5)
    within = versions.replace("}", ',le="0.1"}')
    assert values[f"{name}_bucket{within}"] == 3 * (distances <= 0.1).sum()
    assert values[f":tfdlrm:serving:shadow_latency_count{versions}"] == 3


def test_only_the_share_is_run_and_never_the_version_itself(saved, monkeypatch):
    chances = iter([0.4, 0.6, 0.1, 0.2])
    monkeypatch.setattr(shadow.random, "random", lambda: next(chances))
    dense, ids = rows(1)
    with embedded(settings(saved, 0.5)) as server:
        for label in ("stable", "stable", "canary", "stable"):
            ask(server, dense, ids, label)
        values = wait_for(server, "OK", 2)
    assert sum(v for k, v in values.items() if "shadow_requests" in k) == 2


def test_requests_of_clients_alone_are_counted_as_requests(saved):
    dense, ids = rows(2)
    with embedded(settings(saved)) as server:
        ask(server, dense, ids)
        wait_for(server, "OK", 1)
        text = get(f"{server.url}{METRICS}")[1]
    assert (
        ':tensorflow:serving:request_count{model_name="scores",status="OK"} 1' in text
    )
    assert re.search(r"runtime_latency_count\{.*\} 1$", text, re.MULTILINE)


def test_a_version_that_cannot_answer_is_counted_and_harms_nobody(saved, tmp_path):
    base = tmp_path / "scores"
    save_scores(base / "1")
    settings_of_missing = settings(base, 1.0, stable=1, canary=7)
    dense, ids = rows(1)
    with embedded(settings_of_missing) as server:
        ask(server, dense, ids)
        wait_for(server, "NOT_FOUND", 1)


def test_requests_beyond_the_most_at_a_time_are_dropped(saved, monkeypatch):
    monkeypatch.setattr(shadow, "MOST_AT_A_TIME", 0)
    dense, ids = rows(1)
    with embedded(settings(saved)) as server:
        ask(server, dense, ids)
        wait_for(server, "DROPPED", 1)


def test_the_server_stops_while_the_other_version_runs(saved, monkeypatch):
    async def wait(*arguments):
        await asyncio.sleep(3600)

    monkeypatch.setattr(shadow.Shadow, "_run", wait)
    dense, ids = rows(1)
    with embedded(settings(saved)) as server:
        ask(server, dense, ids)


def test_numbers_of_one_name_and_shape_are_compared():
    ones = {"a": np.array([0.5, np.nan, np.inf], np.float32), "b": np.ones(2)}
    others = {"a": np.array([0.25, np.nan, 1.0], np.float32), "b": np.ones(3)}
    assert compare(ones, others).tolist() == [0.25, 0.0, np.inf]
    assert compare({"b": np.ones(2)}, others) is None
    assert compare({"c": np.ones(2)}, others) is None


def test_several_values_count_like_one_after_the_other():
    together, singly = (Histogram("x", (0.0, 0.1, 1.0)) for _ in range(2))
    values = np.array([0.0, 0.05, 0.1, 0.5, 2.0])
    together.observe_all(values)
    for value in values.tolist():
        singly.observe(value)
    assert together.lines() == singly.lines()
    together.observe_all(np.array([np.inf]))
    assert together.lines()[-1] == "x_count{} 6"
    assert "inf" not in together.lines()[-2]


@pytest.mark.parametrize("text", ["canary", "canary:0", "canary:1.5", ":0.5", "a:b"])
def test_what_is_no_label_and_share_is_refused(text):
    with pytest.raises(InputError, match=f"shadow is '{text}', expected a label of"):
        ShadowSettings.parse(text)


def test_a_label_needs_a_model_config(tmp_path):
    with pytest.raises(InputError, match="--shadow has no effect with --model_base"):
        ServeCommand(model_base_path=tmp_path, shadow="canary:0.1")
