import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from tfdlrm.metrics import auc, binary_metrics, log_loss


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
