"""Values of the twin that leave, and the new values that take their places."""

import json

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from pipelines.logs.criteo_file import RawFile
from pipelines.synthetic import Twin, write_days, write_raw
from pipelines.twin import planted
from pipelines.twin.features import feature_distribution
from pipelines.twin.truth import truth_file
from pipelines.twin.turnover import generations, identities

TWIN = Twin(24_001, seed=3, vocabulary_scale=0.01, days=3, drift=0.4, turnover=0.2)


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    directory = tmp_path_factory.mktemp("days")
    write_days(directory / "day_{day}.txt", TWIN)
    return [directory / f"day_{day}.txt" for day in (1, 2, 3)]


@pytest.mark.parametrize("turnover", [0.0, 0.1, 0.37, 1.0])
def test_the_share_of_values_that_leave_each_day_is_the_turnover(turnover):
    ranks = np.arange(100_000)
    for day in range(1, 12):
        is_new = generations(ranks, day, turnover) != generations(
            ranks, day - 1, turnover
        )
        assert is_new.mean() == pytest.approx(turnover, abs=1e-3)


def test_no_value_ever_comes_back_or_is_another_rank_s():
    ranks, size = np.arange(1000), 1000
    values = [identities(ranks, size, day, 0.3) for day in range(10)]
    for day, numbers in enumerate(values):
        assert len(np.unique(numbers)) == size
        gone = np.setdiff1d(np.concatenate(values[: day + 1]), numbers)
        assert not np.isin(gone, np.concatenate(values[day:])).any()


def test_the_files_of_days_are_the_rows_of_one_file(days, tmp_path):
    write_raw(tmp_path / "all.txt", *vars(TWIN).values())
    text = b"".join(path.read_bytes() for path in days)
    assert text == (tmp_path / "all.txt").read_bytes()
    truths = [np.load(truth_file(path)) for path in days]
    np.testing.assert_array_equal(
        np.concatenate(truths), np.load(truth_file(tmp_path / "all.txt"))
    )
    report = json.loads((tmp_path / "all.txt.truth.json").read_text())
    for path, measures in zip(days, report["reachable"], strict=True):
        assert json.loads(path.with_name(f"{path.name}.truth.json").read_text())[
            "reachable"
        ] == [measures]


def test_new_values_come_in_large_features_only(days):
    frames = [pl.concat(RawFile(path)) for path in days]
    sizes = feature_distribution(TWIN.seed, TWIN.vocabulary_scale).sizes
    for feature, size in enumerate(sizes, start=1):
        first, second = (frame[f"C{feature}"].drop_nulls() for frame in frames[:2])
        share = (~second.is_in(first.unique().implode())).mean()
        if size < 20:  # all of them occur on the first day
            assert share == 0
        elif size >= 100:
            assert share > 0.1


def test_the_truth_of_a_day_has_the_measures_of_its_logits(days):
    for path in days:
        truth = np.load(truth_file(path))
        report = json.loads(path.with_name(f"{path.name}.truth.json").read_text())
        auc = roc_auc_score(truth["label"], truth["logit"])
        assert report["reachable"][0]["auc"] == pytest.approx(auc, abs=1e-12)
        assert truth["label"].mean() == pytest.approx(planted.BASE_RATE, abs=0.025)


def test_a_new_value_has_effects_of_its_own():
    distribution = feature_distribution(0)
    steady, changed = (
        planted.planted_models(0, distribution, 2, 0.0, turnover)[1]
        for turnover in (0.0, 0.5)
    )
    feature = int(np.argmax([len(effects) for effects in steady.main]))
    size = distribution.sizes[feature]
    assert size >= 100
    ranks = np.arange(len(steady.main[feature]) - 1)
    is_new = identities(ranks, size, 1, 0.5) != ranks
    is_same = steady.main[feature][:-1] == changed.main[feature][:-1]
    np.testing.assert_array_equal(is_same, ~is_new)
    assert changed.main[feature][-1] == 0
