"""Models of a log that is not Criteo's: trained, measured, exported, asked."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from pipelines.prepare import prepare
from tests.support.own_log import CONFIG, DESCRIPTION, ROWS, write_log
from tfdlrm.base.errors import InputError
from tfdlrm.config import OptimizerConfig, TrainConfig
from tfdlrm.config.models import DLRMConfig
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.evaluate import EvaluateCommand, evaluate_model
from tfdlrm.export import ExportCommand, export
from tfdlrm.exporting import scorer as scorers
from tfdlrm.predict import PredictCommand, predict
from tfdlrm.train import train

pytestmark = pytest.mark.usefixtures("loaded_once")

KINDS = {
    "both": DESCRIPTION,
    "dense": "{label: {name: bought, positive: 'yes'}, dense: [price, age]}",
    "bags": "{label: {name: bought, positive: 'yes'}, categorical: "
    "[{name: tags, separator: '|'}, {name: shops, separator: ' '}]}",
    "user": "{label: {name: bought, positive: 'yes'}, categorical: [user]}",
}


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("log") / "log.csv", ROWS)


@pytest.fixture(scope="module")
def trained(log, tmp_path_factory):
    """Return a function from sorts of columns to the settings of a finished run."""
    configs = {}

    def run(columns_name):
        if columns_name not in configs:
            directory = tmp_path_factory.mktemp(columns_name)
            columns = directory / "columns.yaml"
            columns.write_text(KINDS[columns_name])
            prepare([log], directory / "data", replace(CONFIG, columns=columns))
            configs[columns_name] = TrainConfig(
                data_dir=directory / "data",
                model=DLRMConfig(
                    embedding_dim=4, bottom_mlp_units=(8,), top_mlp_units=(8,)
                ),
                optimizer=OptimizerConfig(learning_rate=0.05),
                batch_size=64,
                epochs=3,
                evaluations_per_epoch=1,
                run_dir=directory / "run",
                export_dir=directory / "model",
            )
            train(configs[columns_name])
        return configs[columns_name]

    return run


def probabilities(path):
    return np.array([float(line) for line in path.read_text().splitlines()[1:]])


def scored_rows(config):
    """Return labels of the test rows and the exported model's probabilities."""
    schema = FeatureSchema.load(config.data_dir)
    scorer = scorers.load_scorer(config.export_dir)
    batches = read_split(config.data_dir, schema, "test", 100)
    actual = [(label.numpy(), scorer(features).numpy()) for features, label in batches]
    labels, scores = (
        np.concatenate(arrays).ravel() for arrays in zip(*actual, strict=True)
    )
    return labels, scores


@pytest.mark.slow
@pytest.mark.parametrize("columns_name", KINDS)
def test_raw_rows_are_scored_as_prepared_ones(trained, columns_name, log, tmp_path):
    config = trained(columns_name)
    predict(PredictCommand(config.export_dir, log, tmp_path / "p.csv", 333))
    predicted = probabilities(tmp_path / "p.csv")
    assert len(predicted) == len(ROWS)
    labels, scores = scored_rows(config)
    rows = np.array([row["bought"] == "yes" for row in ROWS])
    if columns_name == "both":  # its test rows are the latest, in the order of the file
        latest = np.sort(np.argsort([int(row["ts"]) for row in ROWS])[-len(scores) :])
    else:
        latest = np.arange(len(ROWS))[-len(scores) :]
    np.testing.assert_array_equal(labels, rows[latest])
    np.testing.assert_allclose(predicted[latest], scores, rtol=1e-5)


@pytest.mark.slow
def test_what_decides_the_label_is_learned(trained, capsys, tmp_path):
    config = trained("both")
    evaluate_model(
        EvaluateCommand(
            config.export_dir, config.data_dir, output_file=tmp_path / "m.json"
        )
    )
    assert "default dialect" in capsys.readouterr().out
    metrics = json.loads((config.run_dir / "metrics.json").read_text())
    assert metrics["test"]["auc"] > 0.7


def test_labels_and_times_are_not_needed_to_score(trained, log, tmp_path):
    config = trained("both")
    names = ["user", "shops", "tags", "age", "price"]
    unlabelled = write_log(tmp_path / "new.csv", ROWS, names)
    for path in (log, unlabelled):
        predict(PredictCommand(config.export_dir, path, tmp_path / f"{path.stem}.p"))
    assert (tmp_path / "log.p").read_text() == (tmp_path / "new.p").read_text()
    lacking = write_log(tmp_path / "lacking.csv", ROWS, names[1:])
    with pytest.raises(InputError, match=r"lacking\.csv has no column 'user'"):
        predict(PredictCommand(config.export_dir, lacking, tmp_path / "p.csv"))


def test_a_bad_row_is_named_when_scoring(trained, tmp_path):
    rows = [*ROWS[:3], {**ROWS[3], "price": "much"}]
    bad = write_log(tmp_path / "bad.csv", rows)
    with pytest.raises(InputError, match=r"bad\.csv row 5: column 'price' is 'much'"):
        predict(PredictCommand(trained("both").export_dir, bad, tmp_path / "p.csv"))
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


@pytest.mark.parametrize(
    ("columns_name", "inputs"),
    [
        ("both", {"dense_features": [2], "categorical_features": [3, None]}),
        pytest.param(
            "bags", {"categorical_features": [2, None]}, marks=pytest.mark.slow
        ),
        pytest.param("dense", {"dense_features": [2]}, marks=pytest.mark.slow),
        pytest.param("user", {"categorical_features": [1]}, marks=pytest.mark.slow),
    ],
)
def test_the_signature_has_the_kinds_of_features_there_are(
    trained, columns_name, inputs
):
    scorer = scorers.load_scorer(trained(columns_name).export_dir)
    signature = scorer.module.signatures["serving_default"]
    actual = {
        name: spec.shape.as_list()[1:]
        for name, spec in signature.structured_input_signature[1].items()
    }
    assert actual == inputs


@pytest.mark.parametrize(
    "columns_name", ["both", pytest.param("bags", marks=pytest.mark.slow)]
)
def test_padding_counts_as_nothing(trained, columns_name):
    signature = scorers.load_scorer(trained(columns_name).export_dir).module.signatures
    score = signature["serving_default"]
    pad = scorers.PADDING_ID
    narrow, wide = [[2], [pad]], [[pad, 2, pad], [pad, pad, pad]]
    inputs = {}
    if columns_name == "both":  # a price, an age and a user before the bags
        narrow, wide = [[1], *narrow], [[1, pad, pad], *wide]
        inputs["dense_features"] = tf.zeros((1, 2))
    first, second = (
        score(**inputs, categorical_features=tf.constant([ids], tf.int64))
        for ids in (narrow, wide)
    )
    np.testing.assert_allclose(first["probability"], second["probability"], rtol=1e-6)


def test_long_bags_are_scored_in_parts(trained, monkeypatch):
    config = trained("both")
    _, all_scores = scored_rows(config)
    monkeypatch.setattr(scorers, "MAX_PADDED_IDS", 500)
    _, parts = scored_rows(config)
    np.testing.assert_allclose(parts, all_scores, rtol=1e-5)


@pytest.mark.slow
def test_a_run_is_exported_again(trained, log, tmp_path):
    config = trained("both")
    again = export(ExportCommand(config.run_dir, tmp_path / "model"))
    for name, model in [("a", config.export_dir / "1"), ("b", again)]:
        predict(PredictCommand(model, log, tmp_path / name))
    np.testing.assert_allclose(
        probabilities(tmp_path / "a"), probabilities(tmp_path / "b"), rtol=1e-5
    )


@pytest.mark.slow
def test_mirrored_training_on_bags_learns_what_one_device_does(trained, tmp_path):
    config = replace(trained("both"), optimizer=OptimizerConfig("sgd", 0.05), epochs=1)
    measured = []
    for strategy in ("default", "mirrored"):
        run = tmp_path / strategy
        train(
            replace(
                config, strategy=strategy, run_dir=run, export_dir=tmp_path / "model"
            )
        )
        metrics = json.loads((run / "metrics.json").read_text())["test"]
        # However small its change, a score that crosses the edge of a bin moves both.
        del metrics["expected_calibration_error"], metrics["dialect"]
        measured.append(metrics)
    assert measured[1] == pytest.approx(measured[0], rel=1e-3)


@pytest.mark.slow
def test_another_model_of_the_log_is_trained(trained, tmp_path):
    config = trained("both")
    from tfdlrm.config.models import DeepFMConfig

    train(
        replace(
            config,
            model=DeepFMConfig(embedding_dim=4, deep_units=(8,)),
            epochs=1,
            run_dir=tmp_path / "run",
            export_dir=tmp_path / "model",
        )
    )
    with (tmp_path / "run" / "metrics.jsonl").open() as file:
        assert csv.reader(file)
