"""Exported models of this project refuse other shapes, and NaN, by themselves."""

import numpy as np
import pytest

from tests.support.serving_thread import embedded, post
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings


@pytest.fixture(scope="module")
def url(exported):
    settings = ServerSettings(
        [ModelSettings("clicks", exported.parent)], poll_seconds=0
    )
    with embedded(settings) as server:
        yield f"{server.url}/v1/models/clicks:predict"


def ask(url, dense, ids):
    inputs = {"dense_features": dense.tolist(), "categorical_features": ids.tolist()}
    return post(url, {"inputs": inputs})


@pytest.mark.parametrize(
    ("dense", "ids"),
    [
        ((2, 12), (2, 26)),
        ((2, 1), (2, 26)),
        ((2, 13), (2, 1)),
        ((2, 13), (1, 26)),
        ((13,), (1, 26)),
        ((1, 13), (26,)),
        ((1, 13), (1, 26, 1)),
    ],
)
def test_other_shapes_get_no_number(url, dense, ids):
    status, answer = ask(url, np.zeros(dense), np.zeros(ids, int))
    assert status == 400
    assert answer.keys() == {"error"}


def test_other_shapes_leave_the_server_as_it_was(url):
    ask(url, np.zeros((2, 12)), np.zeros((2, 26), int))
    status, answer = ask(url, np.zeros((2, 13)), np.zeros((2, 26), int))
    assert status == 200
    first, second = answer["outputs"]
    assert first == second and 0 < first[0] < 1


def test_nan_is_refused_with_its_column(url):
    dense = np.zeros((2, 13))
    dense[1, 4] = np.nan
    status, answer = ask(url, dense, np.zeros((2, 26), int))
    assert status == 400
    assert "I5 of row 1 is `nan`, expected a finite number" in answer["error"]


def test_raw_columns_of_other_shapes_are_refused(url):
    names = [f"I{number}" for number in range(1, 14)]
    names += [f"C{number}" for number in range(1, 27)]
    one_row = {name: [""] for name in names}
    for wrong in ([["1"]], ["1", "2"], "1"):
        columns = {**one_row, "I1": wrong}
        status, answer = post(url, {"signature_name": "raw", "inputs": columns})
        assert (status, answer.keys()) == (400, {"error"})
