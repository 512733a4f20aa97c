"""Raw logs with labels, measured by an exported model without a data set."""

import gzip
import json
import os
import threading

import numpy as np
import pytest

from tests.support.raw_rows import make_rows, write_rows
from tfdlrm.base.errors import InputError
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.evaluate import EvaluateCommand, evaluate_model
from tfdlrm.exporting.raw_scores import sample_log, score_log
from tfdlrm.exporting.scorer import load_scorer
from tfdlrm.importance import ImportanceCommand, importance

ROWS = make_rows(500)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("log") / "day2.txt", ROWS)


@pytest.fixture(scope="module")
def scorer(exported):
    return load_scorer(exported)


def measures_of(exported, log, tmp_path):
    json_file = tmp_path / "measures.json"
    evaluate_model(EvaluateCommand(exported, raw=log, output_file=json_file))
    return json.loads(json_file.read_text())["raw"]


def test_the_json_has_the_share_of_every_column(exported, data_dir, log, tmp_path):
    measures = measures_of(exported, log, tmp_path)
    schema = FeatureSchema.load(data_dir)
    names = [feature.name for feature in schema.categorical_features]
    assert list(measures["unknown"]) == list(measures["usual_unknown"]) == names
    coverage = json.loads((data_dir / "coverage.json").read_text())["features"]
    assert measures["usual_unknown"] == {
        column["name"]: max(column["unknown"].values()) for column in coverage
    }
    # Every column has a value in each row, a missing one at least.
    mean = np.mean(list(measures["unknown"].values()))
    assert measures["unknown_share"] == pytest.approx(mean)


def test_the_table_of_unknown_values_is_below_that_of_the_measures(
    exported, log, capsys
):
    evaluate_model(EvaluateCommand(exported, raw=log))
    lines = capsys.readouterr().out.splitlines()
    head = lines.index("| column | unknown values | in its data set |")
    assert any(line.startswith("| raw | 500 |") for line in lines[:head])
    shares = [float(line.split("|")[2].strip()[:-1]) for line in lines[head + 2 :]]
    assert len(shares) == 26
    assert shares == sorted(shares, reverse=True)


@pytest.mark.slow
def test_a_pipe_a_zipped_file_and_a_folder_are_measured_like_the_file(
    exported, log, tmp_path
):
    expected = measures_of(exported, log, tmp_path)
    zipped = tmp_path / "day2.gz"
    zipped.write_bytes(gzip.compress(log.read_bytes()))
    folder = tmp_path / "folder"
    folder.mkdir()
    write_rows(folder / "part-0", ROWS[:200])
    write_rows(folder / "part-1", ROWS[200:])
    for path in (zipped, folder):
        assert measures_of(exported, path, tmp_path) == expected
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[log.read_bytes()])
    writer.start()
    assert measures_of(exported, pipe, tmp_path) == expected
    writer.join()


@pytest.mark.slow_variants
@pytest.mark.parametrize("source", ["raw", "data_dir"])
def test_the_picture_of_the_rates_is_drawn(
    exported, log, data_dir, tmp_path, source, pictures
):
    picture = tmp_path / "reliability.png"
    rows = {"raw": log, "data_dir": data_dir}[source]
    evaluate_model(EvaluateCommand(exported, plot=picture, **{source: rows}))
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["-", "picture.jpeg", "picture"])
def test_a_picture_of_another_format_is_refused(name, tmp_path):
    with pytest.raises(InputError, match=r"expected a name that ends in one of \.pdf"):
        EvaluateCommand("model", raw="log", plot=tmp_path / name)


def test_a_picture_never_replaces_the_log(exported, tmp_path):
    log = write_rows(tmp_path / "log.png", ROWS)
    with pytest.raises(InputError, match="would replace raw"):
        evaluate_model(EvaluateCommand(exported, raw=log, plot=log))


def test_a_sample_of_all_rows_is_the_log_in_its_order(scorer, log):
    sample = sample_log(scorer, log, 10_000, seed=1)
    scores = score_log(scorer, log)
    np.testing.assert_array_equal(sample.labels, scores.labels)
    probabilities = scorer(sample.features).numpy().ravel()
    np.testing.assert_allclose(probabilities, scores.probabilities, rtol=1e-6)
    assert sample.unknown.shares == scores.unknown.shares


def test_a_sample_is_random_and_the_seed_decides_it(scorer, log):
    samples = [sample_log(scorer, log, 100, seed) for seed in (0, 0, 1)]
    assert [(len(sample.labels), sample.num_rows) for sample in samples] == [
        (100, 500)
    ] * 3
    first, same, other = (sample.features["dense_features"] for sample in samples)
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.slow
def test_the_importance_on_a_log_is_that_on_its_rows(exported, log, tmp_path):
    command = ImportanceCommand(
        exported, output=tmp_path, raw=log, rows=10_000, repeats=2
    )
    importances = importance(command)
    assert len(importances) == 13 + 26
    assert any(any(column.log_loss_rise) for column in importances)
    report = json.loads((tmp_path / "importance.json").read_text())
    assert report["rows"] == "500 of 500 rows"
    shares = score_log(load_scorer(exported), log).unknown.shares
    assert report["unknown"] == shares
    assert "| column | unknown values |" in (tmp_path / "importance.md").read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "neither is given, expected one"),
        ({"data_dir": "a", "raw": "b"}, "both are given, expected one"),
        ({"raw": "b", "split": "test"}, "split goes with data_dir"),
    ],
)
def test_importance_takes_a_data_set_or_a_log(settings, message):
    with pytest.raises(InputError, match=message):
        ImportanceCommand("model", **settings)
