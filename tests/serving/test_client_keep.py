"""A client writes what `tfdlrm.predict` writes: scores and columns of the log."""

import csv

import polars as pl
import pytest

from tests.support.mixed_log import (
    RATING,
    USER,
    as_typed,
    make_rows,
    mixed_models,
    write_text,
)
from tests.support.serving_thread import embedded
from tfdlrm.client import ClientCommand, score_file
from tfdlrm.predict import PredictCommand, predict
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings

KEEP = ("id", RATING, "genres", "clicked")
STRANGE = {USER: "99", "genres": "x|y"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return mixed_models(tmp_path_factory)


@pytest.fixture(scope="module")
def server(root):
    models = [ModelSettings(name, root / name) for name in ("text", "typed")]
    with embedded(ServerSettings(models, poll_seconds=0)) as running:
        yield running


@pytest.fixture
def logs(tmp_path):
    """Logs of both sorts, with a few values that the models do not know."""
    rows = make_rows(50, seed=1)
    rows = [row | STRANGE if number < 5 else row for number, row in enumerate(rows)]
    write_text(tmp_path / "log.csv", rows)
    as_typed(rows).write_parquet(tmp_path / "log.parquet")
    return {"text": tmp_path / "log.csv", "typed": tmp_path / "log.parquet"}


def ask(server, root, log, output, model, protocol, **options):
    port = (server.grpc if protocol == "grpc" else server.http).port
    command = ClientCommand(
        log,
        output,
        f"127.0.0.1:{port}",
        protocol,
        model,
        batch_size=7,
        columns=root / f"{model}.yaml",
        **options,
    )
    assert score_file(command) == 50


@pytest.mark.slow_variants
@pytest.mark.parametrize("protocol", ["grpc", "rest"])
@pytest.mark.parametrize("model", ["text", "typed"])
def test_a_client_writes_what_predict_writes(
    server, root, logs, tmp_path, capfd, protocol, model
):
    log, outputs = logs[model], [tmp_path / "predict.parquet", tmp_path / "c.parquet"]
    predict(PredictCommand(root / model, log, outputs[0], keep=KEEP))
    expected_messages = capfd.readouterr().err
    ask(server, root, log, outputs[1], model, protocol, keep=KEEP)
    assert expected_messages.startswith("unknown values: ")
    assert "user.id 5 of 50 (10.00%)" in expected_messages
    assert capfd.readouterr().err == expected_messages
    by_predict, by_client = map(pl.read_parquet, outputs)
    assert by_client.columns == [*KEEP, "probability"]
    assert by_client.drop("probability").equals(by_predict.drop("probability"))
    differences = by_client["probability"] - by_predict["probability"]
    assert differences.abs().max() < 1e-6


def test_text_has_the_separator_and_quotes_of_the_log(server, root, logs, tmp_path):
    outputs = [tmp_path / "predict.csv", tmp_path / "client.csv"]
    predict(PredictCommand(root / "text", logs["text"], outputs[0], keep=KEEP))
    ask(server, root, logs["text"], outputs[1], "text", "grpc", keep=KEEP)
    rows = list(csv.DictReader(logs["text"].open(newline="")))
    for path in outputs:
        scored = list(csv.DictReader(path.open(newline="")))
        assert list(scored[0]) == [*KEEP, "probability"]
        assert [[row[name] for name in KEEP] for row in scored] == [
            [row[name] for name in KEEP] for row in rows
        ]
