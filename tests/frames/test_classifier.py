"""A classifier trains and scores as the commands do, by scikit-learn's conventions."""

import gc
import json
import pickle
import warnings
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO

import numpy as np
import pandas as pd
import polars as pl
import pytest
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

import tfdlrm
from tests.support.serving_thread import embedded, post
from tfdlrm.base.errors import InputError
from tfdlrm.config import (
    DLRMConfig,
    OptimizerConfig,
    PlateauConfig,
    PrepareConfig,
    TrainConfig,
)
from tfdlrm.config.models import LogisticRegressionConfig
from tfdlrm.exporting.manifest import check_version
from tfdlrm.frames.classifier import DLRMClassifier
from tfdlrm.predict import PredictCommand, predict
from tfdlrm.runs.training_run import run_training
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings

SETTINGS = TrainConfig(
    model=DLRMConfig(embedding_dim=4, bottom_mlp_units=(8,), top_mlp_units=(8,)),
    optimizer=OptimizerConfig("adagrad", 0.1),
    batch_size=64,
    epochs=2,
    evaluations_per_epoch=1,
)
PLATEAU = replace(SETTINGS, optimizer=OptimizerConfig(schedule=PlateauConfig()))
LOGISTIC = replace(SETTINGS, model=LogisticRegressionConfig(), epochs=1)
COLUMNS = """
format: parquet
label: {name: clicked, positive: "yes", negative: "no"}
dense: [price]
categorical: [user_id, country, {name: tags, multi_hot: true}]
"""


def shop(num_rows, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "price": rng.lognormal(2, 1, num_rows),
            "user_id": rng.integers(0, 60, num_rows),
            "country": rng.choice(["de", "fr", "it", None], num_rows),
            "tags": [
                list(rng.choice(["new", "sale", "old"], rng.integers(3), replace=False))
                for _ in range(num_rows)
            ],
        },
        index=rng.permutation(num_rows),
    )
    chance = frame["country"].map({"de": 0.8, "fr": 0.5, "it": 0.1}).fillna(0.4)
    frame["clicked"] = np.where(rng.random(num_rows) < chance, "yes", "no")
    return frame


TRAIN, TEST = shop(1200), shop(300, seed=1)
ROWS, LABELS = TRAIN.drop(columns="clicked"), TRAIN["clicked"]


@pytest.fixture(scope="module")
def first_fit():
    """A fitted classifier, what its fit printed, and NumPy's next random number."""
    np.random.seed(3)
    with redirect_stdout(StringIO()) as output:
        classifier = DLRMClassifier(label="clicked", config=SETTINGS).fit(TRAIN)
    return classifier, output.getvalue(), np.random.random()


@pytest.fixture(scope="module")
def fitted(first_fit):
    return first_fit[0]


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    """The directory of two versions of the model."""
    directory = tmp_path_factory.mktemp("saved") / "clicks"
    assert fitted.save(directory) == directory / "1"
    assert fitted.save(directory) == directory / "2"
    return directory


def predicted(model, frame, directory):
    """Return what `tfdlrm.predict` writes for the rows of a frame."""
    frame.to_parquet(directory / "rows.parquet")
    output = directory / "probabilities.csv"
    predict(PredictCommand(model, directory / "rows.parquet", output))
    return pl.read_csv(output)["probability"].to_numpy()


def test_a_fit_and_the_commands_have_the_same_numbers(fitted, tmp_path):
    TRAIN.to_parquet(tmp_path / "log.parquet")
    (tmp_path / "columns.yaml").write_text(COLUMNS)
    prepare = PrepareConfig(
        columns=tmp_path / "columns.yaml",
        min_frequency=2,
        days=1,
        validation_days=0,
        test_days=0,
    )
    run = run_training(
        replace(
            SETTINGS,
            raw=tmp_path / "log.parquet",
            data_dir=tmp_path / "data",
            run_dir=tmp_path / "run",
            export_dir=tmp_path / "model",
            prepare=prepare,
        )
    )
    expected = predicted(run.model, TEST, tmp_path)
    probabilities = fitted.predict_proba(TEST)[:, 1]
    assert np.array_equal(probabilities.astype(np.float32), expected.astype(np.float32))
    assert (
        fitted.encoder.to_schema().columns
        == tfdlrm.FeatureSchema.load(tmp_path / "data").columns
    )


def test_what_is_saved_is_loaded_and_scored_by_the_command(fitted, saved, tmp_path):
    probabilities = fitted.predict_proba(TEST)
    loaded = DLRMClassifier.load(saved)
    assert np.array_equal(loaded.predict_proba(TEST), probabilities)
    assert loaded.predict(TEST).tolist() == fitted.predict(TEST).tolist()
    assert loaded.classes_.tolist() == ["no", "yes"]
    assert loaded.score(TEST) == fitted.score(TEST)
    expected = predicted(saved, TEST, tmp_path).astype(np.float32)
    assert np.array_equal(probabilities[:, 1].astype(np.float32), expected)


def test_a_saved_version_has_the_name_of_its_directory(saved):
    assert check_version(saved / "2")
    card = json.loads((saved / "2" / "assets.extra" / "model.json").read_bytes())
    assert (card["name"], card["version"]) == ("clicks", 2)
    requests = saved / "2" / "assets.extra" / "tf_serving_warmup_requests"
    logs = [
        PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(requests)).as_numpy_iterator()
    ]
    names = {log.predict_log.request.model_spec.name for log in logs} - {""}
    assert names == {"clicks"}


@pytest.mark.slow
def test_a_saved_version_is_served(fitted, saved):
    row = {"price": "9.5", "user_id": "7", "country": "xx", "tags": ["new"]}
    models = [ModelSettings("clicks", saved)]
    with embedded(ServerSettings(models, poll_seconds=0)) as server:
        body = {"signature_name": "raw", "instances": [row]}
        status, answer = post(f"{server.url}/v1/models/clicks:predict", body)
    assert status == 200
    prediction = answer["predictions"][0]
    value = prediction["probability"] if isinstance(prediction, dict) else prediction
    row |= {"price": 9.5, "user_id": 7}
    expected = fitted.predict_proba([row])[0, 1]
    np.testing.assert_allclose(np.ravel(value), expected, rtol=1e-5)


def test_rows_with_unseen_and_missing_values_are_scored(fitted):
    rows = pd.DataFrame(
        {
            "price": [None, 3.0],
            "user_id": [None, 123456.0],
            "country": ["nowhere", None],
            "tags": [["never"], []],
        }
    )
    probabilities = fitted.predict_proba(rows)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_values_that_are_written_otherwise_are_warned_of(fitted, recwarn):
    fitted.predict_proba(TEST)
    fitted.predict_proba(TEST.head(50).assign(country="DE"))
    assert not [warning for warning in recwarn if "unknown" in str(warning.message)]
    with pytest.warns(UserWarning, match=r"country: 300 of 300 .*'DE'; are they"):
        fitted.predict_proba(TEST.assign(country="DE"))


def test_a_fit_learns_and_is_measured(fitted):
    labels = (TEST["clicked"] == "yes").to_numpy()
    probabilities = fitted.predict_proba(TEST)[:, 1]
    measures = fitted.evaluate(TEST)
    assert measures == fitted.evaluate(TEST.drop(columns="clicked"), TEST["clicked"])
    positive, negative = probabilities[labels], probabilities[~labels]
    differences = positive[:, None] - negative[None, :]
    auc = np.mean((differences > 0) + 0.5 * (differences == 0))
    np.testing.assert_allclose(measures["auc"], auc, rtol=1e-9)
    assert auc > 0.65
    predictions = fitted.predict(TEST)
    assert set(predictions) <= {"no", "yes"}
    assert fitted.score(TEST) == np.mean(predictions == TEST["clicked"].to_numpy())
    weights = np.arange(len(TEST))
    right = np.mean((predictions == TEST["clicked"]) * weights) / np.mean(weights)
    weighted = fitted.score(TEST, TEST["clicked"], sample_weight=weights)
    np.testing.assert_allclose(weighted, right)


def test_what_was_inferred_is_described(fitted):
    lines = [line.split(maxsplit=2) for line in fitted.describe().splitlines()]
    assert lines[0] == ["price", "dense", "floats, log(x + 1)"]
    assert lines[1][:2] == ["user_id", "categorical"] and "an id" in lines[1][2]
    assert lines[3][:2] == ["tags", "multi-hot"]


def test_the_files_of_a_model_go_with_it_without_a_warning(fitted):
    copied = pickle.loads(pickle.dumps(fitted))
    version = copied._fitted.version
    assert version.is_dir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del copied
        gc.collect()
    assert not version.exists()


def test_a_pickle_and_a_copy_score_alike(fitted):
    expected = fitted.predict_proba(TEST)
    assert np.array_equal(
        pickle.loads(pickle.dumps(fitted)).predict_proba(TEST), expected
    )


def test_a_fit_changes_no_random_numbers_and_prints_nothing(first_fit):
    _, output, number = first_fit
    assert (output, number) == ("", np.random.RandomState(3).random())


def test_a_copy_has_the_same_parameters(fitted):
    base = pytest.importorskip("sklearn.base")
    copy = base.clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "classes_")
    assert base.is_classifier(copy)


@pytest.mark.slow
def test_the_folds_of_scikit_learn_take_it():
    pytest.importorskip("sklearn")
    from sklearn.model_selection import cross_val_score

    classifier = DLRMClassifier(config=LOGISTIC)
    scores = cross_val_score(classifier, ROWS, LABELS, cv=2, scoring="roc_auc")
    assert (scores > 0.6).all()


@pytest.mark.slow
def test_searches_and_pipelines_of_scikit_learn_take_it():
    pytest.importorskip("sklearn")
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    grid = {"learning_rate": [1e-6, 0.1], "embedding_dim": [4]}
    search = GridSearchCV(DLRMClassifier(config=SETTINGS), grid, cv=2)
    search.fit(ROWS, LABELS)
    assert search.best_params_ == {"learning_rate": 0.1, "embedding_dim": 4}
    assert search.predict_proba(TEST).shape == (len(TEST), 2)
    pipeline = make_pipeline(SimpleImputer(), DLRMClassifier(config=LOGISTIC))
    numbers = TRAIN[["price", "user_id"]]
    assert 0 < pipeline.fit(numbers, LABELS).score(numbers, LABELS) < 1


EXPECTED_TO_FAIL = {
    "check_estimators_empty_data_messages": "it says so in other words",
    "check_supervised_y_2d": "a column of labels is taken without a warning",
}


@pytest.mark.slow
def test_the_checks_of_scikit_learn_pass():
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    results = checks.check_estimator(
        DLRMClassifier(config=replace(LOGISTIC, epochs=20)),
        on_fail=None,
        on_skip=None,
        expected_failed_checks=EXPECTED_TO_FAIL,
    )
    failures = {
        result["check_name"]: str(result["exception"])
        for result in results
        if result["status"] == "failed"
    }
    assert failures == {}


def test_parameters_are_named():
    classifier = DLRMClassifier(epochs=3)
    assert repr(classifier) == "DLRMClassifier(epochs=3)"
    assert classifier.set_params(epochs=4, label="y").get_params()["epochs"] == 4
    with pytest.raises(InputError, match="did you mean epochs"):
        classifier.set_params(epoch=4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs is 0, expected >= 1"),
        (
            {"embedding_dim": 4, "config": LOGISTIC},
            "logistic_regression has no embedding",
        ),
        ({"validation_fraction": 1.0}, "expected >= 0 and < 1"),
        (
            {"early_stopping": 2},
            "no rows are held out to watch: give validation_fraction",
        ),
        (
            {"config": PLATEAU},
            "optimizer.schedule is plateau, but no rows are held out to watch",
        ),
        (
            {"config": {"epochs": 1}},
            "config is of type dict, expected tfdlrm.TrainConfig",
        ),
        ({"config": TrainConfig(raw="a.csv")}, r"config\.raw is a\.csv, expected none"),
        ({"config": TrainConfig(export_dir="m")}, r"use save\(directory\)"),
        ({"min_frequency": 0}, "min_frequency is 0, expected from 1"),
        ({"learning_rate": -1.0}, r"learning_rate is -1\.0, expected > 0"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        DLRMClassifier(**settings).fit(ROWS, LABELS)


def test_other_columns_than_those_of_training_are_refused(fitted):
    with pytest.raises(InputError, match="no column 'country', expected one"):
        fitted.predict_proba(ROWS.drop(columns="country"))
    with pytest.raises(InputError, match="X has 2 features, but DLRMClassifier is exp"):
        fitted.predict_proba(np.zeros((3, 2)))
    with pytest.raises(InputError, match="the frame has no rows"):
        fitted.predict_proba(TEST.head(0))


def test_nothing_is_predicted_before_a_fit(tmp_path):
    with pytest.raises(InputError, match="not fitted yet"):
        DLRMClassifier().predict(ROWS)
    with pytest.raises(InputError, match="holds no SavedModel"):
        DLRMClassifier.load(tmp_path)
