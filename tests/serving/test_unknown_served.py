"""A server, and a client of one, count unknown values as `tfdlrm.predict` does."""

import logging
import re

import pytest

from tests.support.raw_rows import make_rows, write_rows
from tests.support.serving_thread import embedded, get, post
from tfdlrm.client import ClientCommand, score_file
from tfdlrm.predict import PredictCommand, predict
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings

NUM_ROWS = 600


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / "clicks.tsv"
    return write_rows(path, make_rows(NUM_ROWS))


@pytest.fixture
def server(exported):
    with embedded(
        ServerSettings([ModelSettings("clicks", exported.parent)])
    ) as running:
        yield running


def counts_of(server):
    """Return the counts of unknown and of all values of C1, as Prometheus has them."""
    _, text = get(f"{server.url}/monitoring/prometheus/metrics")
    return [
        int(number)
        for name in ("unknown_values", "values")
        for number in re.findall(
            rf':tfdlrm:serving:{name}{{model_name="clicks",column="C1"}} (\d+)', text
        )
    ]


def warnings_of(text):
    return [line for line in text.splitlines() if "unknown" in line]


def test_the_client_reports_what_predict_reports(
    server, exported, raw, tmp_path, capfd
):
    predict(PredictCommand(exported, raw, tmp_path / "expected.csv"))
    expected = warnings_of(capfd.readouterr().err)
    assert len(expected) > 2
    for protocol, port in (("grpc", server.grpc.port), ("rest", server.http.port)):
        score_file(
            ClientCommand(
                raw,
                tmp_path / f"{protocol}.csv",
                f"127.0.0.1:{port}",
                protocol,
                "clicks",
                batch_size=100,
            )
        )
        assert warnings_of(capfd.readouterr().err) == expected, protocol


def test_the_metrics_count_what_requests_bring(server, raw):
    names = [f"I{i}" for i in range(1, 14)] + [f"C{i}" for i in range(1, 27)]
    empty = dict.fromkeys(names, "")
    instances = [{**empty, "C1": value} for value in ("deadbee0", "deadbee1", "")]
    url = f"{server.url}/v1/models/clicks:predict"
    request = {"signature_name": "raw", "instances": instances}
    status, answer = post(url, request)
    assert status == 200
    assert {len(row) for row in answer["predictions"]} == {1}
    assert counts_of(server) == [2, 3]
    examples = [{"C1": "deadbee2"}, {"I1": 3}]
    for method in ("classify", "regress"):
        url = f"{server.url}/v1/models/clicks:{method}"
        request = {"signature_name": method, "examples": examples}
        status, answer = post(url, request)
        assert status == 200, answer
    assert counts_of(server) == [4, 7]


def test_a_column_with_far_too_many_is_logged_once(server, raw, tmp_path, caplog):
    command = ClientCommand(
        raw, tmp_path / "scores.csv", f"127.0.0.1:{server.grpc.port}", "grpc", "clicks"
    )
    with caplog.at_level(logging.WARNING, "tfdlrm.serving"):
        for _ in range(3):
            score_file(command)
    warnings = [line for line in caplog.messages if "column C1 are unknown" in line]
    assert len(warnings) == 1
    assert "in its data set: are they written as in training?" in warnings[0]
