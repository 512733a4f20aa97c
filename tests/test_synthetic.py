import numpy as np
import pytest

from pipelines import criteo, synthetic
from pipelines.raw import RawFile
from tfdlrm.metrics import auc


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    path = tmp_path_factory.mktemp("synthetic") / "rows.tsv"
    synthetic.write_raw(path, num_rows=30_000, seed=0)
    (frame,) = RawFile(path, chunk_bytes=2**30)
    return frame


def test_rows_are_well_formed_and_a_quarter_are_clicks(frame):
    assert frame.height == 30_000
    assert frame.columns == list(criteo.column_names(labelled=True))
    assert frame["label"].mean() == pytest.approx(0.256, abs=0.01)


def test_the_seed_decides_the_file(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        synthetic.write_raw(tmp_path / name, num_rows=500, seed=seed)
    first, again, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == again
    assert first != other


def test_a_few_values_make_up_most_of_a_large_feature(frame):
    counts = frame["C3"].drop_nulls().value_counts(sort=True)["count"].to_numpy()
    assert len(counts) > 1_000
    assert counts[:10].sum() > 0.2 * counts.sum()


def test_fields_are_missing_as_often_as_planned(frame):
    planned = synthetic.planted_model(0).missing
    found = [frame[name].null_count() / frame.height for name in frame.columns[1:]]
    np.testing.assert_allclose(found, planned, atol=0.02)


def test_the_planted_logits_explain_the_labels():
    model = synthetic.planted_model(0)
    rng = np.random.default_rng(1)
    features = synthetic.draw_features(model, 30_000, rng)
    logits = synthetic.logits_of(model, *features)
    rates = 1 / (1 + np.exp(-logits))
    labels = rng.random(30_000) < rates
    assert rates.mean() == pytest.approx(synthetic.BASE_RATE, abs=0.01)
    assert 0.78 < auc(labels, logits) < 0.82


def test_logits_are_main_effects_plus_dot_products():
    model = synthetic.planted_model(0)
    features = synthetic.draw_features(model, 3, np.random.default_rng(0))
    counts, values, is_missing = features
    for row, logit in enumerate(synthetic.logits_of(model, *features)):
        expected = model.intercept
        for i, count in enumerate(counts[row]):
            shown = 0 if is_missing[row, i] else np.log1p(max(count, 0))
            expected += (shown - 1.2) * model.dense_effects[i]
        here = ~is_missing[row, 13:]
        ids = [ranks[row] for ranks in values]
        expected += sum(model.main[i][ids[i]] for i in range(26) if here[i])
        expected += sum(
            model.latent[i][ids[i]] @ model.latent[j][ids[j]]
            for i, j in model.pairs
            if here[i] and here[j]
        )
        assert logit == pytest.approx(expected)


def test_hashes_do_not_collide_within_a_feature():
    model = synthetic.planted_model(0)
    rows = synthetic.draw_rows(model, 20_000, np.random.default_rng(0))
    ranks = synthetic.draw_features(model, 20_000, np.random.default_rng(0))[1]
    for name, ids in zip(criteo.CATEGORICAL_FEATURES, ranks, strict=True):
        present = rows[name].is_not_null().to_numpy()
        assert rows[name].drop_nulls().n_unique() == len(np.unique(ids[present]))
