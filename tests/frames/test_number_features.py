"""Frames with described transforms: fitted, encoded and explained as prepared rows."""

import numpy as np
import pandas as pd
import pytest
import yaml

import tfdlrm
from pipelines.prepare import prepare
from tests.support.number_log import DESCRIPTION, NAMES, NUMBERS, ROWS, number_log
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.exporting.scorer import load_scorer
from tfdlrm.frames.classifier import DLRMClassifier
from tfdlrm.frames.encoder import FeatureEncoder

COLUMNS = {**yaml.safe_load(DESCRIPTION), "missing": []}


def as_frame(rows):
    """Return rows as numbers and lists, with missing values."""
    frame = pd.DataFrame(rows).replace({"NA": None, "": None})
    for name in NUMBERS:
        frame[name] = pd.to_numeric(frame[name])
    frame["age"] = frame["age"].replace(-1, None).astype(float)
    frame["tags"] = [
        text.split("|") if text else [] for text in frame["tags"].fillna("")
    ]
    return frame


FRAME = as_frame(ROWS)


def described(name="tags"):
    """Return the description of the frame, whose bags are lists."""
    categorical = [
        {"name": name, "multi_hot": True}
        if isinstance(entry, dict) and entry["name"] == name
        else entry
        for entry in COLUMNS["categorical"]
    ]
    return {**COLUMNS, "categorical": categorical}


@pytest.fixture(scope="module")
def encoder():
    return FeatureEncoder(described()).adapt(FRAME)


def test_fitted_numbers_and_ids_are_those_of_preparing(encoder, tmp_path):
    columns = tmp_path / "columns.yaml"
    columns.write_text(yaml.safe_dump({**described(), "format": "parquet"}))
    FRAME.to_parquet(tmp_path / "log.parquet")
    config = PrepareConfig(
        columns=columns, min_frequency=1, days=1, validation_days=0, test_days=0
    )
    schema = prepare([tmp_path / "log.parquet"], tmp_path / "data", config)
    own = encoder.to_schema()
    assert own.transforms == schema.transforms
    assert own.dense_features == schema.dense_features
    assert own.vocabulary_contents == schema.vocabulary_contents
    features, labels = next(
        iter(tfdlrm.read_split(tmp_path / "data", schema, "train", 10_000))
    )
    actual = encoder(FRAME)
    assert rows_of(actual, encoder.label(FRAME)) == rows_of(features, labels)
    loaded = FeatureEncoder.load(tmp_path / "data")
    np.testing.assert_array_equal(
        loaded(FRAME)["dense_features"], actual["dense_features"]
    )


def rows_of(features, labels):
    """Return the rows in an order of their own, since preparing shuffles them."""
    dense = np.asarray(features["dense_features"]).tolist()
    ids = features["categorical_features"].to_list()
    labels = np.asarray(labels).tolist()
    return sorted(map(repr, zip(dense, ids, labels, strict=True)))


def test_an_encoder_says_how_numbers_become_features(encoder):
    words = {line.split()[0]: line for line in encoder.describe().splitlines()}
    assert "1 where price is missing, else 0" in words["price_missing"]
    assert (
        "0 to 50 as 0 to 1 of price, at least 0 and at most 50"
        in (words["price_capped"])
    )
    assert "rank among 10 quantiles, 0 to 1" in words["age"]
    assert "buckets of price: 5 quantiles" in words["price_bucket"]
    assert "buckets of views: floor(log(x)^2)" in words["views"]
    mean = encoder.to_schema().transforms["price"].transform.mean
    assert f"(x - {mean:.6g}) / " in words["price"]


def test_a_frame_needs_the_columns_and_not_the_features(encoder):
    row = {name: FRAME[name][:1] for name in NAMES}
    assert encoder(row)["dense_features"].shape == (1, 8)
    with pytest.raises(InputError, match="no column 'views', expected one"):
        encoder({name: values for name, values in row.items() if name != "views"})
    with pytest.raises(InputError, match=r"row 0 .*'views' is text"):
        FeatureEncoder(described()).adapt({**FRAME, "views": ["x"] * len(FRAME)})


@pytest.mark.slow
def test_a_loaded_model_explains_raw_columns(tmp_path_factory):
    log = number_log(tmp_path_factory)
    model = tfdlrm.load(log.version)
    row = {name: ROWS[3][name] or None for name in NAMES}
    explanation = model.explain(row)
    assert sorted(explanation["column"]) == sorted(NAMES)
    without_price = model.score([{**row, "price": None}])[0]
    (probability,) = explanation.loc[
        explanation["column"] == "price", "probability_without"
    ]
    assert probability == without_price != model.score([row])[0]
    scores = model.score([{name: row[name] for name in NAMES} for row in ROWS])
    features, _ = next(iter(tfdlrm.read_split(log.data_dir, log.schema, "test", 999)))
    expected = load_scorer(log.version)(features).numpy().ravel()
    np.testing.assert_allclose(scores[200:], expected, rtol=1e-6)
    assert DLRMClassifier.load(log.version).n_features_in_ == len(NAMES)


def clicks(num_rows=2000):
    """Return rows with a label by country, and large numbers that say nothing."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "price": rng.lognormal(3, 1, num_rows),
            "country": rng.choice(["de", "fr", "it"], num_rows),
            "balance": rng.normal(0, 1000, num_rows),
        }
    )
    chance = frame["country"].map({"de": 0.9, "fr": 0.4, "it": 0.05})
    frame["clicked"] = rng.random(num_rows) < chance
    return frame


@pytest.mark.slow
def test_a_large_column_with_negative_numbers_costs_no_auc():
    frame = clicks()

    def auc(rows):
        model = DLRMClassifier(label="clicked", seed=0).fit(rows[:1600])
        return model.evaluate(rows[1600:])["auc"]

    with_balance = auc(frame)
    assert with_balance > 0.85
    assert abs(with_balance - auc(frame.drop(columns="balance"))) < 0.02
