import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from tfdlrm.base.storage import replace_json
from tfdlrm.metrics.binary import (
    auc,
    binary_metrics,
    expected_calibration_error,
    log_loss,
    reliability,
)
from tfdlrm.metrics.splits import measures_by_split


def predictions(rows=1_000):
    rng = np.random.default_rng(0)
    probabilities = rng.random(rows).round(2)  # with ties
    return (rng.random(rows) < probabilities).astype("float32"), probabilities


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2))
def test_auc_is_the_share_of_pairs_in_order(rows):
    labels = np.array([float(label) for label, _ in rows])
    scores = np.array([score / 4 for _, score in rows])
    positive, negative = scores[labels == 1], scores[labels == 0]
    if not positive.size or not negative.size:
        assert np.isnan(auc(labels, scores))
        return
    differences = positive[:, None] - negative
    assert auc(labels, scores) == pytest.approx(
        np.mean((differences > 0) + 0.5 * (differences == 0))
    )


def test_measures_agree_with_scikit_learn():
    labels, probabilities = predictions()
    measured = binary_metrics(labels, probabilities)
    assert measured.rows == 1_000
    assert measured.auc == pytest.approx(oracle.roc_auc_score(labels, probabilities))
    assert measured.log_loss == pytest.approx(
        oracle.log_loss(labels, np.clip(probabilities, 2**-23, 1 - 2**-23))
    )
    assert measured.accuracy == oracle.accuracy_score(labels, probabilities > 0.5)


def test_normalized_entropy_of_the_base_rate_is_one():
    labels = np.array([1.0, 0, 0, 0])
    measured = binary_metrics(labels, np.full(4, 0.25))
    assert measured.normalized_entropy == pytest.approx(1)
    assert measured.calibration == pytest.approx(1)
    assert measured.base_rate == 0.25


def test_calibration_is_predicted_over_actual_clicks():
    assert binary_metrics(
        np.array([1, 0, 0, 1]), np.array([0.9, 0.7, 0.5, 0.9])
    ).calibration == pytest.approx(1.5)


def test_log_loss_of_a_certain_mistake_is_finite():
    assert 15 < log_loss(np.array([0.0]), np.array([1.0])) < 17


def test_labels_all_alike_leave_the_auc_undefined():
    measured = binary_metrics(np.zeros(3), np.full(3, 0.1))
    assert np.isnan(measured.auc)
    assert measured.log_loss == pytest.approx(-np.log(0.9))


@pytest.mark.parametrize(("labels", "scores"), [([], []), ([1.0], [0.5, 0.5])])
def test_mismatched_or_empty_rows_are_refused(labels, scores):
    with pytest.raises(ValueError, match="expected the same number"):
        binary_metrics(np.array(labels), np.array(scores))


def test_bins_of_equal_mass_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    probabilities = rng.random(10_000) ** 3  # crowded near 0, without ties
    labels = (rng.random(10_000) < probabilities).astype(float)
    bins = reliability(labels, probabilities, num_bins=20)
    assert bins.rows.tolist() == [500] * 20
    observed, predicted = calibration_curve(
        labels, probabilities, n_bins=20, strategy="quantile"
    )
    np.testing.assert_allclose(bins.observed, observed, atol=0.002)
    np.testing.assert_allclose(bins.predicted, predicted, atol=0.002)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1),
    st.integers(1, 6),
)
def test_bins_hold_every_row_once_and_never_part_equal_ones(rows, num_bins):
    labels = np.array([float(label) for label, _ in rows])
    probabilities = np.array([value / 4 for _, value in rows])
    bins = reliability(labels, probabilities, num_bins)
    assert bins.rows.sum() == len(rows)
    assert 1 <= len(bins.rows) <= num_bins
    ends = np.cumsum(bins.rows)[:-1]
    ordered = np.sort(probabilities)
    assert (ordered[ends - 1] < ordered[ends]).all()
    assert bins.predicted @ bins.rows == pytest.approx(probabilities.sum())
    assert bins.observed @ bins.rows == pytest.approx(labels.sum())


def test_the_calibration_error_weighs_the_gaps_of_the_bins():
    labels = np.array([0, 0, 1, 1, 1, 1])
    probabilities = np.array([0.2, 0.2, 0.2, 0.2, 0.7, 0.7])
    bins = reliability(labels, probabilities, num_bins=3)
    assert bins.rows.tolist() == [4, 2]
    expected = (4 * abs(0.2 - 0.5) + 2 * abs(0.7 - 1)) / 6
    assert expected_calibration_error(bins) == pytest.approx(expected)
    assert binary_metrics(
        labels, probabilities
    ).expected_calibration_error == pytest.approx(expected)


def test_a_calibrated_model_has_the_error_of_chance_alone():
    rng = np.random.default_rng(0)
    probabilities = np.repeat(rng.random(20), 1_000)
    labels = (rng.random(20_000) < probabilities).astype(float)
    chance = np.sqrt(2 * probabilities * (1 - probabilities) / (np.pi * 1_000)).mean()
    error = expected_calibration_error(reliability(labels, probabilities))
    assert error == pytest.approx(chance, rel=0.5)
    wrong = expected_calibration_error(reliability(labels, probabilities**2))
    assert wrong > 10 * chance


def test_measures_of_one_class_are_json_that_any_parser_reads(tmp_path):
    alone = binary_metrics(np.zeros(3), np.full(3, 0.1))
    file = tmp_path / "metrics.json"
    replace_json(file, measures_by_split({"test": alone}, "default"))
    actual = json.loads(file.read_text(), parse_constant=pytest.fail)["test"]
    assert actual["auc"] is None
    assert actual["log_loss"] == pytest.approx(-np.log(0.9))
