"""Numbers with transforms behind a server: requests and the page name raw columns."""

import grpc
import numpy as np
import polars as pl
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from tests.support.number_log import NAMES, NUMBERS, ROWS, UNUSUAL, number_log
from tests.support.serving_thread import embedded, post, predict_request
from tfdlrm.client import ClientCommand, score_file
from tfdlrm.predict import PredictCommand, predict
from tfdlrm.serving.described_columns import described_columns
from tfdlrm.serving.http.model_facts import describe_model
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings


@pytest.fixture(scope="module")
def numbers_log(tmp_path_factory):
    return number_log(tmp_path_factory)


@pytest.fixture(scope="module")
def server(numbers_log):
    models = [ModelSettings("numbers", numbers_log.version.parent)]
    settings = ServerSettings(models, poll_seconds=0, reports_unknown=True)
    with embedded(settings) as running:
        yield running


@pytest.fixture(scope="module")
def predicted(numbers_log, tmp_path_factory):
    scores = tmp_path_factory.mktemp("scores") / "scores.csv"
    predict(PredictCommand(numbers_log.version, numbers_log.log, scores))
    return pl.read_csv(scores)["probability"].to_numpy()


def plain(row):
    """Return a row as a program has it: numbers, lists and null."""
    values = {name: row[name] or None for name in NAMES}
    for name in NUMBERS:
        if row[name] not in ("", "NA"):
            values[name] = float(row[name])
    return values


def ask(server, rows):
    document = {"signature_name": "raw", "instances": rows}
    status, answer = post(f"{server.url}/v1/models/numbers:predict", document)
    assert status == 200, answer
    return np.array(answer["predictions"], np.float32).ravel(), answer


def test_numbers_null_and_text_in_json_score_like_predictions(server, predicted):
    for rows in (map(plain, ROWS), ROWS):
        rows = [{name: row[name] for name in NAMES} for row in rows]
        probabilities, _ = ask(server, rows)
        np.testing.assert_allclose(probabilities, predicted, rtol=1e-6)
    texts, _ = ask(server, [{name: row[name] for name in NAMES} for row in UNUSUAL])
    numbers, _ = ask(server, [plain(row) for row in UNUSUAL])
    np.testing.assert_array_equal(numbers, texts)


def test_grpc_takes_raw_columns(server, predicted):
    with grpc.insecure_channel(server.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        columns = {name: [row[name] for row in ROWS] for name in NAMES}
        answer = stub.Predict(predict_request("numbers", "raw", **columns))
    values = answer.outputs["probability"].float_val
    np.testing.assert_allclose(values, predicted, rtol=1e-6)


@pytest.mark.parametrize("is_described", [True, False])
def test_the_client_scores_like_predict(
    server, numbers_log, predicted, tmp_path, is_described
):
    command = ClientCommand(
        numbers_log.log,
        tmp_path / "out.csv",
        server=server.address.removeprefix("http://"),
        model_name="numbers",
        columns=numbers_log.columns if is_described else None,
        batch_size=100,
    )
    assert score_file(command) == len(ROWS)
    scores = pl.read_csv(tmp_path / "out.csv")["probability"].to_numpy()
    np.testing.assert_allclose(scores, predicted, rtol=1e-6)


def test_unknown_values_are_listed_by_column_without_buckets(server):
    row = plain(ROWS[0]) | {"country": "xx", "views": 9e37, "tags": "a|zz"}
    _, answer = ask(server, [row])
    assert answer["unknown"] == [{"country": ["xx"], "tags": ["zz"]}]


def test_the_page_has_a_field_for_each_raw_column(server, numbers_log):
    facts = describe_model(server.models, "numbers", None)
    assert {column["name"]: column["content"] for column in facts["columns"]} == {
        **dict.fromkeys(NUMBERS, "number"),
        "country": "category",
        "tags": "bag",
    }
    with_values = [column["name"] for column in facts["columns"] if "values" in column]
    assert with_values == ["country", "tags"]
    assert set(facts["samples"][0]) == set(NAMES)
    columns = described_columns(numbers_log.version / "assets.extra")
    assert {name for name, column in columns.items() if column.content == "number"} == {
        *NUMBERS
    }


def test_a_number_of_another_type_is_refused_by_its_column(server):
    document = {
        "signature_name": "raw",
        "instances": [plain(ROWS[0]) | {"views": True}],
    }
    status, answer = post(f"{server.url}/v1/models/numbers:predict", document)
    assert status == 400 and "input views of row 0 is true" in answer["error"]
