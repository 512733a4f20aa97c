import json

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import log_loss, roc_auc_score

from pipelines import synthetic
from pipelines.logs import criteo
from pipelines.logs.criteo_file import RawFile
from pipelines.synthetic import Twin, write_raw
from pipelines.twin import features as synthetic_features
from pipelines.twin import planted
from pipelines.twin import text as synthetic_text
from pipelines.twin.truth import truth_file
from tfdlrm.base.errors import InputError

ROWS = 40_000


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    path = tmp_path_factory.mktemp("synthetic") / "rows.tsv"
    write_raw(path, num_rows=ROWS, seed=0)
    return path


@pytest.fixture(scope="module")
def frame(raw):
    return pl.concat(RawFile(raw))


@pytest.fixture(scope="module")
def distribution():
    return synthetic_features.feature_distribution(seed=0)


@pytest.fixture(scope="module")
def truth(raw):
    truth = np.load(truth_file(raw))
    return truth["label"], truth["logit"] * planted.LOGIT_STEP


def test_rows_are_well_formed_and_clicks_come_at_the_base_rate(frame):
    assert frame.height == ROWS
    assert frame.columns == list(criteo.column_names(labelled=True))
    clicks = int(frame["label"].sum())
    assert stats.binomtest(clicks, ROWS, planted.BASE_RATE).pvalue > 0.01


def test_fields_are_missing_as_often_as_planned(frame, distribution):
    num_missing = np.array([frame[name].null_count() for name in frame.columns[1:]])
    planned = distribution.missing
    never = planned == 0
    assert np.all(num_missing[never] == 0)
    squares = (num_missing - ROWS * planned) ** 2 / (
        ROWS * planned * (1 - planned) + never
    )
    assert stats.chi2.sf(squares.sum(), np.count_nonzero(~never)) > 0.01


@pytest.mark.parametrize("feature", [2, 8, 16, 25])
def test_values_follow_their_power_law(frame, distribution, feature):
    size, exponent = distribution.sizes[feature], distribution.exponents[feature]
    ranks = np.arange(min(size, 100))
    hashes = synthetic_text.value_hashes(feature, ranks)
    values = frame[f"C{feature + 1}"].drop_nulls().to_numpy()
    counts = np.array([np.count_nonzero(values == numbers) for numbers in hashes])
    shares = synthetic_features.power_law_shares(ranks, size, exponent)
    counts, expected = (
        np.append(numbers, total - numbers.sum())
        for numbers, total in (
            (counts, len(values)),
            (shares * len(values), len(values)),
        )
    )
    if size <= 100:  # no other values
        assert counts[-1] == 0
        counts, expected = counts[:-1], expected[:-1]
    assert stats.chisquare(counts, expected, sum_check=False).pvalue > 0.01


def test_power_law_shares_add_up_and_ranks_reach_both_ends():
    shares = synthetic_features.power_law_shares(np.arange(1000), 1000, 1.3)
    assert shares.sum() == pytest.approx(1)
    ends = synthetic_features.power_law_ranks(np.array([0, 1 - 1e-16]), 1000, 1.3)
    assert ends.tolist() == [0, 999]


def test_vocabularies_have_the_published_sizes_times_the_scale():
    published = synthetic_features.KAGGLE_VOCABULARY_SIZES
    assert sum(published) == 33_762_577  # 540,201,232 table weights of width 16
    assert synthetic_features.feature_distribution(3).sizes == published
    scaled = synthetic_features.feature_distribution(3, 0.01).sizes
    assert (scaled[2], scaled[8]) == (101_312, 1)


def test_the_truth_next_to_the_file_has_its_labels(frame, truth):
    np.testing.assert_array_equal(frame["label"].to_numpy(), truth[0])


def test_the_planted_probabilities_are_those_of_the_labels(truth):
    labels, logits = truth
    rates = 1 / (1 + np.exp(-logits))
    for low, high in ((0, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1)):
        inside = (rates >= low) & (rates < high)
        deviation = np.sqrt(np.sum(rates[inside] * (1 - rates[inside])))
        excess = labels[inside].sum() - rates[inside].sum()
        assert abs(excess) < 3 * deviation


def test_the_report_has_the_measures_of_the_planted_logits(raw, truth):
    labels, logits = truth
    report = json.loads(raw.with_name("rows.tsv.truth.json").read_text())
    (day,) = report["reachable"]
    assert day["auc"] == pytest.approx(roc_auc_score(labels, logits), abs=1e-12)
    rates = 1 / (1 + np.exp(-logits))
    assert day["log_loss"] == pytest.approx(log_loss(labels, rates), abs=1e-12)
    assert 0.78 < day["auc"] < 0.83
    assert report["settings"]["rows"] == ROWS


def test_logits_are_dense_and_main_effects_plus_dot_products(distribution):
    (model,) = planted.planted_models(0, distribution)
    features = distribution.draw(50, np.random.default_rng(0))
    for row, logit in enumerate(model.logits(features)):
        expected = model.intercept
        for i, count in enumerate(features.counts[:, row]):
            if not features.is_missing[i, row]:
                expected += np.log1p(max(count, 0)) * model.dense[i]
        ranks = np.where(features.is_missing[13:, row], 10**9, features.ranks[:, row])
        entries = [
            min(rank, len(main) - 1)
            for rank, main in zip(ranks, model.main, strict=True)
        ]
        expected += sum(model.main[i][entry] for i, entry in enumerate(entries))
        expected += sum(
            model.latent[i][entries[i]] @ model.latent[j][entries[j]]
            for i, j in model.pairs
        )
        assert logit == pytest.approx(expected, abs=planted.LOGIT_STEP)


def test_interactions_are_a_good_part_of_what_can_be_reached(distribution):
    (model,) = planted.planted_models(0, distribution)
    rng = np.random.default_rng(1)
    features = distribution.draw(100_000, rng)
    logits = model.logits(features)
    labels = rng.random(len(logits)) < 1 / (1 + np.exp(-logits))
    dense, main, _ = model.parts(features)
    without = roc_auc_score(labels, dense + main)
    assert without < roc_auc_score(labels, logits) - 0.05


def test_drift_moves_effects_and_keeps_their_deviation(distribution):
    models = planted.planted_models(0, distribution, days=7, drift=0.6)
    days = np.array([np.concatenate(model.main) for model in models])
    correlations = np.corrcoef(days)
    assert correlations[0, 1] == pytest.approx(np.sqrt(1 - 0.6**2), abs=0.05)
    assert correlations[0, 4] == pytest.approx((1 - 0.6**2) ** 2, abs=0.15)
    np.testing.assert_allclose(days.std(axis=1), days[0].std(), rtol=0.15)
    for model in planted.planted_models(0, distribution, days=3, drift=0.0):
        np.testing.assert_array_equal(np.concatenate(model.main), days[0])


def test_drifting_days_have_measures_and_base_rate_of_their_own(tmp_path):
    path = tmp_path / "rows.tsv"
    write_raw(path, num_rows=40_001, seed=2, days=3, drift=0.5)
    truth = np.load(truth_file(path))
    report = json.loads((tmp_path / "rows.tsv.truth.json").read_text())
    starts = Twin(rows=40_001, days=3).day_starts
    assert starts == [0, 13_334, 26_668, 40_001]
    for day, measures in enumerate(report["reachable"]):
        rows = truth[starts[day] : starts[day + 1]]
        auc = roc_auc_score(rows["label"], rows["logit"])
        assert measures["auc"] == pytest.approx(auc, abs=1e-12)
        assert rows["label"].mean() == pytest.approx(planted.BASE_RATE, abs=0.015)


def test_the_seed_decides_the_files(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_raw(tmp_path / name, num_rows=500, seed=seed)
    file_a, file_b, file_c = ((tmp_path / name).read_bytes() for name in "abc")
    assert file_a == file_b
    assert file_a != file_c
    assert truth_file(tmp_path / "a").read_bytes() == (
        truth_file(tmp_path / "b").read_bytes()
    )


def test_a_shorter_file_is_the_start_of_a_longer_one(tmp_path, raw):
    path = tmp_path / "short.tsv"
    write_raw(path, num_rows=synthetic.BLOCK_ROWS + 7, seed=0)
    short = path.read_bytes()
    assert short.count(b"\n") == synthetic.BLOCK_ROWS + 7
    assert raw.read_bytes().startswith(short)


def test_integers_and_hashes_are_written_as_criteo_does():
    counts = np.array([[0, 9_999, 10_000, 12_345_678, -3, 20_000, 5]] * 13)
    is_missing = np.zeros((39, 7), bool)
    is_missing[:, -1] = True
    ranks = np.arange(7) + np.zeros((26, 1), np.int64)
    features = synthetic_features.Features(counts, ranks, is_missing)
    labels = np.array([0, 1, 0, 1, 0, 1, 0])
    lines = synthetic_text.format_rows(labels, features).decode().splitlines()
    for row, line in enumerate(lines[:-1]):
        label, *fields = line.split("\t")
        assert label == str(labels[row])
        assert fields[:13] == [str(count) for count in counts[:, row]]
        hashes = [synthetic_text.value_hashes(i, ranks[i])[row] for i in range(26)]
        assert fields[13:] == [f"{value:08x}" for value in hashes]
    assert lines[-1] == "0" + "\t" * 39


def test_hashes_do_not_collide_within_a_feature():
    hashes = synthetic_text.value_hashes(2, np.arange(10_131_227))
    assert len(np.unique(hashes)) == len(hashes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rows": 0}, "rows is 0"),
        ({"rows": 5, "days": 6}, "days is 6"),
        ({"rows": 5, "drift": 1.5}, "drift is 1.5"),
        ({"rows": 5, "drift": 0.5}, "drift is 0.5, expected 0 with days 1"),
        ({"rows": 5, "turnover": 0.5}, "turnover is 0.5, expected 0 with days 1"),
        ({"rows": 9, "days": 2, "turnover": -1.0}, "turnover is -1.0, expected from 0"),
        ({"rows": 999, "days": 999, "turnover": 1.0}, "turnover is 1.0, expected less"),
        ({"rows": 5, "vocabulary_scale": 0.0}, "vocabulary_scale is 0.0"),
        ({"rows": 5, "seed": -1}, "seed is -1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Twin(**settings)


def test_nothing_is_left_where_writing_fails(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(synthetic, "format_rows", full)
    with pytest.raises(InputError, match="No space left"):
        write_raw(tmp_path / "rows.tsv", num_rows=100, seed=0)
    assert list(tmp_path.iterdir()) == []
