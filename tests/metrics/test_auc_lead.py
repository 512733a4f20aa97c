"""The lead in AUC of one model over another on the same rows, and its error."""

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tfdlrm.metrics.auc_lead import Lead, auc_lead


def rows(num_rows, noises, digits=9, seed=0):
    """Return labels, and scores of models that see them through so much noise."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(num_rows) < 0.3).astype(float)
    shared = rng.normal(size=num_rows)
    scores = [
        np.round(labels + shared + rng.normal(0, noise, num_rows), digits)
        for noise in noises
    ]
    return labels, scores


def by_definition(labels, first, second):
    """Return difference and error by the pairs of rows, as DeLong et al. define them.

    Theirs are covariances of the components of each model; the contrast of the two
    means has the weights 1 / models.
    """
    models = [*first, *second]
    weights = [1 / len(first)] * len(first) + [-1 / len(second)] * len(second)
    positive, negative = labels == 1, labels == 0
    v10, v01, aucs = [], [], []
    for scores in models:
        pairs = scores[positive][:, None] - scores[negative][None, :]
        kernel = (pairs > 0) + 0.5 * (pairs == 0)
        v10.append(kernel.mean(axis=1))
        v01.append(kernel.mean(axis=0))
        aucs.append(kernel.mean())
    covariance = np.cov(v10) / positive.sum() + np.cov(v01) / negative.sum()
    variance = sum(
        weights[i] * weights[j] * covariance[i, j]
        for i, j in itertools.product(range(len(models)), repeat=2)
    )
    return np.dot(weights, aucs), math.sqrt(variance)


@pytest.mark.parametrize("digits", [9, 0])  # with few and with many ties
@pytest.mark.parametrize("noises", [([0.5], [2.0]), ([0.5, 0.6, 0.7], [1.0, 1.1])])
def test_it_is_as_defined_by_pairs_of_rows(noises, digits):
    first, second = noises
    labels, scores = rows(150, [*first, *second], digits)
    groups = scores[: len(first)], scores[len(first) :]
    lead = auc_lead(labels, *groups)
    expected = by_definition(labels, *groups)
    assert (lead.difference, lead.error) == pytest.approx(expected)
    means = [np.mean([roc_auc_score(labels, s) for s in group]) for group in groups]
    assert lead.difference == pytest.approx(means[0] - means[1])


def test_resampled_rows_vary_by_its_error():
    labels, (first, second) = rows(400, [0.5, 1.5])
    rng = np.random.default_rng(1)
    differences = []
    for _ in range(400):
        drawn = rng.integers(0, len(labels), len(labels))
        aucs = [
            roc_auc_score(labels[drawn], scores[drawn]) for scores in (first, second)
        ]
        differences.append(aucs[0] - aucs[1])
    error = auc_lead(labels, [first], [second]).error
    assert np.std(differences) == pytest.approx(error, rel=0.15)


def test_pairing_matters():
    labels, (first, second) = rows(400, [0.2, 0.3])
    apart = [auc_lead(labels, [s], [np.zeros(400)]).error for s in (first, second)]
    paired = auc_lead(labels, [first], [second]).error
    assert paired < 0.5 * math.hypot(*apart)


def test_only_an_interval_above_nothing_is_a_clear_lead():
    assert Lead(0.02, 0.01).is_clear
    assert not Lead(0.0195, 0.01).is_clear
    assert not Lead(-0.5, 0.01).is_clear
    assert str(Lead(0.02, 0.01)) == "0.0200, 95% interval 0.0004 to 0.0396"


def test_a_single_row_of_a_label_decides_nothing():
    labels = np.array([0, 0, 0, 1.0])
    lead = auc_lead(labels, [np.arange(4.0)], [np.arange(4.0)[::-1]])
    assert lead.difference == 1
    assert not lead.is_clear
