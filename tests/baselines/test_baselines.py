"""What simple models reach, next to plain Python and scikit-learn on the same rows."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from pipelines.prepare import prepare
from tests.support.made_once import made_once
from tests.support.own_log import CONFIG, DESCRIPTION, ROWS, write_log
from tfdlrm.baselines.column_ids import ids_by_column
from tfdlrm.baselines.column_rates import PRIOR_ROWS, RateCounter
from tfdlrm.baselines.fitted import (
    BASE_RATE,
    LOGISTIC_REGRESSION,
    Baselines,
    fit_baselines,
)
from tfdlrm.baselines.measures import advice, as_json, measure_baselines
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.metrics.binary import binary_metrics

USER = "best column (user)"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Return a data set with bags, and its schema."""

    def write(directory):
        (directory / "columns.yaml").write_text(DESCRIPTION)
        raw = write_log(directory / "log.csv", ROWS)
        config = replace(CONFIG, columns=directory / "columns.yaml")
        prepare([raw], directory / "data", config)

    directory = made_once(tmp_path_factory, "shop_for_baselines", write) / "data"
    return directory, FeatureSchema.load(directory)


@pytest.fixture(scope="module")
def fitted(shop):
    return fit_baselines(*shop)


def rows_of(shop, split):
    """Return labels, dense features and bags of ids by row and column."""
    labels, dense, bags = [], [], []
    for features, label in read_split(*shop, split, 500):
        labels += label.numpy().ravel().tolist()
        dense += features["dense_features"].numpy().tolist()
        bags += features["categorical_features"].to_list()
    return np.array(labels), np.array(dense), bags


def one_hot(dense, bags, sizes):
    """Return a row of counts of ids, and the dense features."""
    rows = np.zeros((len(bags), sum(sizes)))
    offsets = np.cumsum([0, *sizes[:-1]])
    for row, bags_of_row in zip(rows, bags, strict=True):
        for offset, ids in zip(offsets, bags_of_row, strict=True):
            np.add.at(row, offset + np.array(ids, int), 1)
    return np.hstack([dense / 20, rows])


def test_the_column_that_decides_the_label_is_found(fitted):
    assert fitted.column.name == "user"


def test_rates_of_values_are_smoothed_towards_the_base_rate(shop, fitted):
    labels, _, bags = rows_of(shop, "train")
    users = np.array([row[fitted.column.index][0] for row in bags])
    assert fitted.base_rate == pytest.approx(labels.mean())
    for user in np.unique(users):
        clicks = labels[users == user]
        rate = clicks.sum() + PRIOR_ROWS * labels.mean()
        rate /= len(clicks) + PRIOR_ROWS
        assert fitted.column.rates[user] == pytest.approx(rate, rel=1e-6)


def test_measures_are_those_of_the_probabilities(shop, fitted):
    labels, _, bags = rows_of(shop, "test")
    rates = [fitted.column.rates[row[fitted.column.index][0]] for row in bags]
    measures = measure_baselines(fitted, *shop)["test"]
    assert measures[USER] == binary_metrics(labels, np.array(rates))
    assert measures[BASE_RATE].auc == 0.5
    base_rate = fitted.base_rate
    expected = -np.log(np.where(labels > 0, base_rate, 1 - base_rate)).mean()
    assert measures[BASE_RATE].log_loss == pytest.approx(expected)


@pytest.mark.slow
def test_the_logistic_regression_ranks_as_scikit_learns(shop, fitted):
    sizes = shop[1].vocabulary_sizes
    train_labels, *train_rows = rows_of(shop, "train")
    labels, *rows = rows_of(shop, "test")
    oracle = LogisticRegression(max_iter=300)
    oracle.fit(one_hot(*train_rows, sizes), train_labels)
    scores = oracle.predict_proba(one_hot(*rows, sizes))[:, 1]
    auc = measure_baselines(fitted, *shop)["test"][LOGISTIC_REGRESSION].auc
    assert auc == pytest.approx(binary_metrics(labels, scores).auc, abs=0.03)


@pytest.mark.slow
def test_baselines_are_read_as_they_were_written(shop, fitted, tmp_path):
    fitted.save(tmp_path / "baselines.npz")
    loaded = Baselines.load(tmp_path / "baselines.npz")
    assert as_json(measure_baselines(loaded, *shop)) == as_json(
        measure_baselines(fitted, *shop)
    )
    assert Baselines.load(tmp_path / "none.npz") is None


def test_bags_are_cut_into_columns():
    ids = tf.ragged.constant([[[1, 2], [7]], [[], [8, 9]]], dtype=tf.int32)
    first, second = ids_by_column(ids)
    assert (first.ids.tolist(), first.rows.tolist()) == ([1, 2], [0, 0])
    assert (second.ids.tolist(), second.rows.tolist()) == ([7, 8, 9], [0, 1, 1])
    assert first.means(np.array([0.2, 0.4]), 0.9).tolist() == pytest.approx([0.3, 0.9])
    assert second.sums(np.array([1.0, 2.0, 3.0])).tolist() == [1.0, 5.0]


def test_a_dense_column_may_be_the_best():
    schema = FeatureSchema(("noise", "price"), (CategoricalFeature("c", 4),))
    rng = np.random.default_rng(0)
    counter = RateCounter(schema, num_rows=2000)
    for _ in range(4):
        dense, ids = rng.random((500, 2)), rng.integers(4, size=(500, 1))
        clicks = (rng.random(500) < dense[:, 1]).astype(np.float32)
        counter.add(dense, [*ids_by_column(tf.constant(ids))], clicks)
    best = counter.best()
    assert best.name == "price"
    rates = best.probabilities(np.array([[0.5, 0.1], [0.5, 0.9]]), [])
    np.testing.assert_allclose(rates, [0.1, 0.9], atol=0.15)


def test_a_column_that_tells_rows_apart_is_not_the_best():
    """Every value occurs once: its own label would predict it, and nothing else."""
    schema = FeatureSchema(
        (), (CategoricalFeature("row", 2000), CategoricalFeature("c", 2))
    )
    rng = np.random.default_rng(0)
    counter = RateCounter(schema, num_rows=2000)
    for part in np.split(np.arange(2000), 4):
        useful = rng.integers(2, size=500)
        clicks = (rng.random(500) < 0.3 + 0.4 * useful).astype(np.float32)
        ids = tf.constant(np.stack([part, useful], axis=1))
        counter.add(np.zeros((500, 0)), [*ids_by_column(ids)], clicks)
    assert counter.best().name == "c"


def measures_of(auc_noise):
    rng = np.random.default_rng(0)
    labels = (rng.random(2000) < 0.3).astype(float)
    scores = 1 / (1 + np.exp(-(labels + auc_noise * rng.normal(size=2000) - 1)))
    return binary_metrics(labels, scores)


def test_a_model_no_better_than_a_baseline_gets_advice():
    metrics, better = {"test": measures_of(2.0)}, measures_of(0.5)
    hint = advice("dlrm", metrics, {"test": {USER: metrics["test"]}})
    assert "is not clearly better than the best column (user)" in hint
    assert "--model.embedding_dim" in hint
    assert advice("dlrm", {"test": better}, {"test": {USER: metrics["test"]}}) is None


def test_labels_of_one_class_get_no_advice():
    metrics = binary_metrics(np.zeros(4), np.full(4, 0.2))
    assert advice("dlrm", {"test": metrics}, {"test": {BASE_RATE: metrics}}) is None
