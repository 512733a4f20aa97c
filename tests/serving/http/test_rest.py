"""REST answers as TF Serving's does."""

import math

import numpy as np
import pytest

from tests.support.served_model import expected
from tests.support.serving_thread import get, post, rows
from tests.support.versioned_server import versioned_server


@pytest.fixture(scope="module")
def server(versioned_models):
    with versioned_server(versioned_models) as running:
        yield running


def test_rest_answers_rows_and_columns_alike(server):
    dense, ids = rows(3)
    click = expected(dense, ids, 1.0)
    columns = {"dense_features": dense.tolist(), "categorical_features": ids.tolist()}
    instances = [
        {"dense_features": dense_row, "categorical_features": id_row}
        for dense_row, id_row in zip(*columns.values(), strict=True)
    ]
    url = f"{server.url}/v1/models/scores"
    status, answer = post(f"{url}:predict", {"instances": instances})
    assert status == 200 and list(answer) == ["predictions"]
    np.testing.assert_allclose(answer["predictions"], click, atol=1e-6)
    status, answer = post(f"{url}/versions/20:predict", {"inputs": columns})
    assert status == 200 and list(answer) == ["outputs"]
    np.testing.assert_allclose(answer["outputs"], click, atol=1e-6)
    _, answer = post(f"{url}/labels/stable:predict", {"inputs": columns})
    np.testing.assert_allclose(answer["outputs"], expected(dense, ids), atol=1e-6)
    classify = {"signature_name": "classify", "examples": instances}
    _, answer = post(f"{url}:classify", classify)
    assert [row[1][0] for row in answer["results"]] == ["1"] * 3
    np.testing.assert_allclose(
        [row[1][1] for row in answer["results"]], click[:, 0], atol=1e-6
    )
    regress = {
        "signature_name": "regress",
        "context": {"categorical_features": ids[0].tolist()},
        "examples": [{"dense_features": row} for row in columns["dense_features"]],
    }
    _, answer = post(f"{url}:regress", regress)
    right = expected(dense, np.tile(ids[0], (3, 1)), 1.0)[:, 0]
    np.testing.assert_allclose(answer["results"], right, atol=1e-6)


def test_rest_writes_other_types_as_tf_serving_does(server):
    url = f"{server.url}/v1/models/kinds:predict"
    row = {
        "doubles": [0.5, -math.inf],
        "flags": True,
        "texts": {"b64": "/wA="},
        "bytes": 7,
    }
    status, answer = post(url, {"instances": [row]})
    assert status == 200
    assert answer["predictions"] == [
        {
            "bytes": 7,
            "doubles": [1.0, -math.inf],
            "flags": False,
            "raw_bytes": {"b64": "/wA="},
            "texts": {"b64": "/wA="},
        }
    ]
    for text in ("/wA", "/w\nA="):
        document = {"instances": [{**row, "texts": {"b64": text}}]}
        assert post(url, document) == (status, answer)
    total = {"signature_name": "total", "inputs": [1, 2.5]}
    assert post(url, total) == (200, {"outputs": 3.5})
    status, answer = post(url, {"signature_name": "total", "instances": [1, 2]})
    assert status == 400 and "batch size" in answer["error"]
    logarithm = {"signature_name": "logarithm", "instances": [0, -1, 2]}
    _, answer = post(url, logarithm)
    low, nan, two = answer["predictions"]
    assert low == -math.inf and math.isnan(nan)
    assert two == pytest.approx(math.log(2))


def test_rest_floats_are_as_short_as_they_can_be(server):
    url = f"{server.url}/v1/models/kinds:predict"
    body = b'{"signature_name": "logarithm", "inputs": [1.1, NaN]}'
    status, answer = post(url, body)
    assert status == 200 and math.isnan(answer["outputs"][1])
    assert repr(answer["outputs"][0]) == str(np.float32(answer["outputs"][0]))
    assert answer["outputs"][0] == pytest.approx(math.log(1.1))


def test_rest_describes_models(server):
    url = f"{server.url}/v1/models/scores"
    status, answer = get(url)
    assert status == 200
    assert answer["model_version_status"][0] == {
        "version": "20",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    _, answer = get(f"{url}/versions/1")
    assert [status["version"] for status in answer["model_version_status"]] == ["1"]
    _, answer = get(f"{url}/labels/stable/metadata")
    assert answer["model_spec"] == {
        "name": "scores",
        "signature_name": "",
        "version": "1",
    }
    definition = answer["metadata"]["signature_def"]["signature_def"]["classify"]
    assert definition["method_name"] == "tensorflow/serving/classify"
    assert definition["inputs"]["inputs"]["dtype"] == "DT_STRING"
    assert get(f"{url}/versions/9")[0] == 404
    assert get(f"{server.url}/v1/models/nothing")[0] == 404
