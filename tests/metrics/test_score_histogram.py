import json

import numpy as np
import pytest
from sklearn import metrics as oracle

from tfdlrm.metrics.score_histogram import ScoreHistogram

CLOSE = 0.001


def clicks(rows=60_000, base_rate=0.02, decimals=None):
    """Return labels and float32 probabilities, with ties if they are rounded."""
    rng = np.random.default_rng(0)
    logits = rng.normal(np.log(base_rate / (1 - base_rate)), 1.2, rows)
    scores = (1 / (1 + np.exp(-logits))).astype("float32")
    labels = (rng.random(rows) < scores).astype("float32")
    return labels, scores if decimals is None else scores.round(decimals)


@pytest.fixture(scope="module", params=[None, 2], ids=["distinct", "ties"])
def rows(request):
    return clicks(decimals=request.param)


@pytest.fixture(scope="module")
def histogram(rows):
    return ScoreHistogram.of(*rows)


def assert_near(curve, exact):
    """Check the height of a rising curve at each corner of the exact one."""
    across, up = exact
    low = np.interp(across - CLOSE, *curve) - CLOSE
    high = np.interp(across + CLOSE, *curve) + CLOSE
    assert np.all((low <= up) & (up <= high))


def test_roc_is_that_of_scikit_learn(rows, histogram):
    wrong, right, _ = oracle.roc_curve(*rows, drop_intermediate=False)
    assert_near(histogram.roc(), (wrong, right))
    area = np.trapezoid if hasattr(np, "trapezoid") else np.trapz
    across, up = histogram.roc()
    assert area(up, across) == pytest.approx(oracle.roc_auc_score(*rows), abs=1e-4)


def test_precision_and_recall_are_points_of_the_exact_curve(rows, histogram):
    labels, scores = rows
    recall, precision = histogram.precision_recall()
    for threshold, *values in list(
        zip(histogram.highest[::-1], recall[1:], precision[1:], strict=True)
    )[::100]:
        # The threshold of a point is below all scores of its bin.
        lower = histogram.highest[histogram.highest < threshold]
        picked = scores > (lower[-1] if lower.size else -1)
        assert values == pytest.approx(
            [
                oracle.recall_score(labels, picked),
                oracle.precision_score(labels, picked),
            ]
        )
    area = np.sum(np.diff(recall) * precision[1:])
    exact = oracle.average_precision_score(labels, scores)
    assert area == pytest.approx(exact, abs=CLOSE)


def test_gain_is_the_share_of_clicks_in_the_best_rows(rows, histogram):
    labels, scores = rows
    across, up = histogram.gain()
    for part in (0.01, 0.1, 0.5, 0.9):
        threshold = np.sort(scores)[::-1][int(part * scores.size) - 1]
        best = scores >= threshold  # with all ties
        expected = labels[best].sum() / labels.sum()
        assert np.interp(best.mean(), across, up) == pytest.approx(expected, abs=CLOSE)


def test_quantiles_are_those_of_numpy(rows, histogram):
    exact = np.quantile(rows[1], np.linspace(0, 1, 1001), method="inverted_cdf")
    assert histogram.quantiles(1001) == pytest.approx(exact, abs=CLOSE)


def test_bins_hold_all_rows_in_ascending_order(rows, histogram):
    labels, scores = rows
    assert histogram.positives.sum() == labels.sum()
    assert histogram.negatives.sum() == (1 - labels).sum()
    assert np.all(np.diff(histogram.highest) > 0)
    assert histogram.highest[-1] == scores.max()
    assert histogram.highest.size < 3500


def test_few_rows_are_kept_apart():
    histogram = ScoreHistogram.of([1, 0, 1], [0.5, 0.50001, 0.50002])
    assert histogram.positives.tolist() == [1, 0, 1]
    assert histogram.quantiles(2).tolist() == [0.5, 0.50002]


def test_a_score_of_many_rows_is_one_bin():
    histogram = ScoreHistogram.of(np.tile([0, 1], 5000), np.full(10_000, 0.3))
    assert (histogram.positives.tolist(), histogram.negatives.tolist()) == (
        [5000],
        [5000],
    )
    assert histogram.roc()[1].tolist() == [0, 1]


def test_json_brings_back_the_same_bins(histogram):
    copy = ScoreHistogram.from_json(json.loads(json.dumps(histogram.to_json())))
    for name in ("highest", "positives", "negatives"):
        assert np.array_equal(getattr(copy, name), getattr(histogram, name))


def test_one_class_leaves_rates_undefined():
    histogram = ScoreHistogram.of([0, 0], [0.1, 0.2])
    assert histogram.has_one_class
    assert np.isnan(histogram.roc()[1]).all()
    assert histogram.quantiles(2).tolist() == [0.1, 0.2]


@pytest.mark.parametrize("labels", [[], [1, 0]])
def test_no_rows_and_other_lengths_are_refused(labels):
    with pytest.raises(ValueError, match="expected the same number, at least one"):
        ScoreHistogram.of(labels, [] if not labels else [0.5])
