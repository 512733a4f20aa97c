"""Raw rows in JSON as people write them, against the same rows as text."""

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from tests.support.mixed_log import BIG, PRICE, RATING, ROWS, USER, mixed_models
from tests.support.serving_thread import embedded, post, predict_request
from tfdlrm.predict import PredictCommand, predict
from tfdlrm.serving.described_columns import described_columns
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings

NAMES = [PRICE, "age", USER, "genres", "is new", RATING, "big"]
TEXT_ROWS = [{name: row[name] for name in NAMES} for row in ROWS]


def plain(row):
    """Return a row as a program has it: numbers, booleans, lists and null."""
    genres = row["genres"].split("|") if row["genres"] else []
    return {
        PRICE: float(row[PRICE]),
        "age": int(row["age"]) if row["age"] else None,
        USER: int(row[USER]),
        "genres": [int(item) if item == "7" else item for item in genres],
        "is new": row["is new"] == "True",
        RATING: row[RATING] or None,
        "big": int(row["big"]),
    }


PLAIN_ROWS = [plain(row) for row in TEXT_ROWS]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return mixed_models(tmp_path_factory)


def serve(root, **options):
    models = [ModelSettings(name, root / name) for name in ("text", "typed")]
    return embedded(ServerSettings(models, poll_seconds=0, **options))


@pytest.fixture(scope="module")
def server(root):
    with serve(root) as running:
        yield running


@pytest.fixture(scope="module")
def telling(root):
    with serve(root, reports_unknown=True) as running:
        yield running


def ask(server, model, document, method="predict", signature="raw"):
    named = {"signature_name": signature, **document} if signature else document
    return post(f"{server.url}/v1/models/{model}:{method}", named)


def columnar(rows):
    return {name: [row[name] for row in rows] for name in NAMES}


def refused(server, model, document, **options):
    status, answer = ask(server, model, document, **options)
    assert (status, set(answer)) == (400, {"error"}), answer
    return answer["error"]


@pytest.mark.slow_variants
@pytest.mark.parametrize("suffix", ["text", "typed"])
def test_plain_rows_score_as_predict_scores_the_log(root, server, tmp_path, suffix):
    log = root / ("log.csv" if suffix == "text" else "log.parquet")
    predict(PredictCommand(root / suffix, log, tmp_path / "scores.csv"))
    expected = np.loadtxt(tmp_path / "scores.csv", skiprows=1)
    _, rows = ask(server, suffix, {"instances": PLAIN_ROWS})
    np.testing.assert_allclose(np.ravel(rows["predictions"]), expected, rtol=1e-6)
    _, columns = ask(server, suffix, {"inputs": columnar(PLAIN_ROWS)})
    assert columns["outputs"] == rows["predictions"]


def test_plain_rows_and_text_get_the_same_answer(server):
    answers = [
        ask(server, "text", {"instances": rows}) for rows in (TEXT_ROWS, PLAIN_ROWS)
    ]
    assert answers[0] == answers[1]
    assert answers[0][0] == 200


def test_a_large_request_is_read_alike_in_another_process(server):
    many = PLAIN_ROWS * 8
    _, answer = ask(server, "text", {"instances": many})
    _, few = ask(server, "text", {"instances": PLAIN_ROWS})
    assert answer["predictions"] == few["predictions"] * 8


@pytest.mark.parametrize("model", ["text", "typed"])
def test_a_missing_and_a_misspelt_key_are_named(server, model):
    row = dict(PLAIN_ROWS[0])
    row["genre"] = row.pop("genres")
    expected = "missing: 'genres'; not expected: 'genre', did you mean 'genres'?"
    error = refused(server, model, {"instances": [PLAIN_ROWS[0], row]})
    assert f"element: 1 of 'instances' list ({expected})" in error
    assert "keys must be equal to: age,big,genres,is new," in error
    columns = {name: [value] for name, value in row.items()}
    error = refused(server, model, {"inputs": columns})
    assert expected in error and "Missing named input: genres" in error
    error = refused(server, model, {"inputs": columnar(PLAIN_ROWS) | {"label": [1]}})
    assert "(not expected: 'label')" in error


def test_raw_columns_without_the_name_of_their_signature_get_a_hint(server):
    for document in ({"instances": PLAIN_ROWS[:1]}, {"inputs": columnar(PLAIN_ROWS)}):
        error = refused(server, "text", document, signature=None)
        assert error.endswith('raw columns need "signature_name": "raw"')
    error = refused(server, "text", {"instances": [{"x": 1}]}, signature=None)
    assert "raw columns" not in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"genres": ["War|7"]}, "input genres of row 1 is"),
        ({"age": "young"}, "age of row 1 is `young`, expected a finite number"),
        ({"age": [41]}, "input age of row 1 is [41], expected a finite number"),
        ({"is new": {}}, "input is new of row 1 is an object, expected text"),
        ({RATING: 1e300}, f"input {RATING} of row 1 is the number 1e+300"),
    ],
)
def test_a_wrong_value_is_named_with_its_row(server, change, message):
    rows = [PLAIN_ROWS[0], PLAIN_ROWS[0] | change]
    assert message in refused(server, "text", {"instances": rows})


def test_columns_are_described_as_they_were_prepared(root):
    text = described_columns(root / "text" / "1" / "assets.extra")
    typed = described_columns(root / "typed" / "1" / "assets.extra")
    assert set(text) == set(typed) == set(NAMES)
    assert text["is new"].booleans == ("False", "True")
    assert typed["is new"].booleans == ("false", "true")
    assert text["genres"].separator == "|" and typed["genres"].is_listed
    assert (text["age"].content, text["age"].booleans) == ("number", None)
    assert described_columns(root) == {}


STRANGE = [
    PLAIN_ROWS[0] | {"genres": ["War", "x", "y", "x", None], USER: 99},
    PLAIN_ROWS[0] | {"genres": ["y", "Musical"], "big": BIG + 1},
    PLAIN_ROWS[0] | {"genres": ["z"]},
    PLAIN_ROWS[0] | {"genres": [], RATING: None},
]
UNKNOWN = [
    {USER: ["99"], "genres": ["x", "y"]},
    {"genres": ["y"], "big": [str(BIG + 1)]},
    {"genres": ["z"]},
    {},
]


@pytest.mark.parametrize("model", ["text", "typed"])
def test_an_answer_can_list_the_unknown_values(server, telling, model):
    for document in ({"instances": STRANGE}, {"inputs": columnar(STRANGE)}):
        _, silent = ask(server, model, document)
        status, answer = ask(telling, model, document)
        assert status == 200
        assert answer.pop("unknown") == UNKNOWN
        assert answer == silent


@pytest.mark.parametrize("model", ["text", "typed"])
@pytest.mark.parametrize("method", ["classify", "regress"])
def test_examples_have_unknown_values_too(server, telling, model, method):
    genres = ["War", "x"] if model == "typed" else "War|x"
    examples = {"examples": [{"genres": genres, USER: 99}, {"genres": "Musical"}]}
    _, silent = ask(server, model, examples, method, method)
    _, answer = ask(telling, model, examples, method, method)
    assert answer.pop("unknown") == [{USER: ["99"], "genres": ["x"]}, {}]
    assert answer == silent


def test_answers_over_grpc_do_not_change(server, telling):
    texts = {name: [str(row[name]) for row in TEXT_ROWS[:3]] for name in NAMES}
    request = predict_request("text", "raw", **texts | {USER: ["99"] * 3})
    answers = []
    for running in (server, telling):
        with grpc.insecure_channel(running.address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            answers.append(stub.Predict(request))
    assert answers[0] == answers[1]
    assert set(answers[0].outputs) == {"probability"}


def test_ids_have_no_unknown_values(telling):
    ids = {"dense_features": [[0, 0]], "categorical_features": [[[0]] * 5]}
    status, answer = ask(telling, "text", {"inputs": ids}, signature=None)
    assert (status, set(answer)) == (200, {"outputs"})


@pytest.mark.parametrize("model", ["text", "typed"])
@pytest.mark.parametrize("times", [1, 8])
def test_examples_of_plain_rows_score_as_the_rows_do(server, model, times):
    # Floats come as float32 in Examples.
    rows = [row | {RATING: 4.0} for row in PLAIN_ROWS] * times
    _, raw = ask(server, model, {"instances": rows})
    status, answer = ask(server, model, {"examples": rows}, "regress", "regress")
    assert status == 200, answer
    expected = np.ravel(raw["predictions"])
    np.testing.assert_allclose(answer["results"], expected, rtol=1e-5)


def test_examples_without_a_signature_get_a_hint(server):
    examples = {"examples": [{"age": 1}]}
    error = refused(server, "text", examples, method="regress", signature=None)
    assert error.endswith('as "signature_name": classify, regress, tf_example')


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({RATING: 1e300}, f"input {RATING} of row 1 is [1e+300], expected text"),
        ({"genres": ["War", ["a"]]}, "input genres of row 1 is a list, expected"),
        ({"age": [None, True]}, "input age of row 1 is [null, true], expected a fin"),
    ],
)
def test_a_wrong_value_of_an_example_is_named(server, change, message):
    rows = {"examples": [PLAIN_ROWS[0], PLAIN_ROWS[0] | change]}
    error = refused(server, "text", rows, method="classify", signature="classify")
    assert message in error


def test_a_schema_that_cannot_be_read_leaves_text(tmp_path, caplog):
    (tmp_path / "schema.json").write_text('{"columns": 3}')
    assert described_columns(tmp_path) == {}
    assert "raw columns are taken as text only" in caplog.text
