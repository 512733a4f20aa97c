"""Transforms of numbers while a data set is prepared, by the local engine."""

import random
from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl
import pytest

from pipelines.logs import text_log
from pipelines.prepare import prepare
from pipelines.stages import buckets, encoding
from pipelines.verify import verify
from tests.support.log_of_numbers import (
    DESCRIPTION,
    column_of,
    make_numbers,
    write_numbers,
)
from tests.support.prepared_runs import files_of, interrupted_after
from tests.support.raw_rows import make_rows, write_rows
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.schema import FeatureSchema

ROWS = [*make_numbers(1399), ("1", "9.5", "40", "3", "c1")]
TRAIN = ROWS[:1200]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "columns.yaml"
    path.write_text(DESCRIPTION)
    return PrepareConfig(columns=path, min_frequency=1, record_format="parquet")


@pytest.fixture
def raw(tmp_path):
    return write_numbers(tmp_path / "log.csv", ROWS)


def rows_of(directory, split):
    return pl.read_parquet(sorted((directory / split).glob("*.parquet")))


def values_by_id(directory, name):
    vocabulary = pl.read_parquet(directory / "vocabulary" / f"{name}.parquet")
    return dict(zip(vocabulary["id"], vocabulary["value"], strict=True))


def test_features_are_those_of_numpy_fitted_to_training_rows_alone(
    raw, config, tmp_path
):
    output = tmp_path / "data"
    schema = prepare([raw], output, config)
    assert FeatureSchema.load(output) == schema
    assert verify(output) == []
    clipped = np.minimum(column_of(TRAIN, "price"), 500)
    mean, deviation = np.nanmean(clipped), np.nanstd(clipped)
    visits = column_of(TRAIN, "visits")
    rows = pl.concat([rows_of(output, "validation"), rows_of(output, "test")])
    price, all_visits = (column_of(ROWS[1200:], n) for n in ("price", "visits"))
    is_missing = np.isnan(price)
    expected = {
        "price": np.where(is_missing, 0, (np.minimum(price, 500) - mean) / deviation),
        "price_missing": is_missing,
        "visits": np.log1p(np.maximum(all_visits, 0)),
        "visits_scaled": (all_visits - visits.min()) / (visits.max() - visits.min()),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(rows[name], values, rtol=1e-6, err_msg=name)
    assert rows["visits_scaled"].max() > 1
    ranks = rows["price_rank"].to_numpy()
    train_prices = column_of(TRAIN, "price")
    shares = [np.mean(train_prices[~np.isnan(train_prices)] <= x) for x in price]
    np.testing.assert_allclose(
        ranks[~is_missing], np.array(shares)[~is_missing], atol=0.06
    )
    assert (ranks[is_missing] == 0).all()


def test_buckets_have_ids_like_any_value(raw, config, tmp_path):
    output = tmp_path / "data"
    schema = prepare([raw], output, config)
    rows = pl.concat([rows_of(output, split) for split in ("validation", "test")])
    price = column_of(ROWS[1200:], "price")
    train = column_of(TRAIN, "price")
    cuts = np.nanquantile(train, np.arange(1, 10) / 10)
    expected = [
        None if np.isnan(x) else str(np.searchsorted(cuts, x, "right")) for x in price
    ]
    values = values_by_id(output, "price_bucket")
    assert [values.get(id_) for id_ in rows["price_bucket"]] == expected
    assert (rows["price_bucket"].to_numpy() == 1).tolist() == np.isnan(price).tolist()
    squares = values_by_id(output, "visits_bucket")
    assert set(squares.values()) == {
        str(int(x) if x <= 2 else 2 + int(np.log(x) ** 2))
        for x in column_of(TRAIN, "visits")
    }
    assert schema.number_columns == ["price", "visits", "hour"]
    assert schema.text_columns == ["city"]
    assert [f.vocabulary_size for f in schema.categorical_features][-1] == 4 + 2


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow_variants)])
def test_fitted_numbers_do_not_depend_on_the_order_of_rows_or_pieces(
    config, tmp_path, monkeypatch, seed
):
    rows = [*TRAIN]
    random.Random(seed).shuffle(rows)
    schemas = []
    for name, part in (("a", TRAIN), ("b", rows)):
        raw = write_numbers(tmp_path / f"{name}.csv", [*part, *ROWS[1200:]])
        schemas.append(prepare([raw], tmp_path / name, config))
        monkeypatch.setattr(text_log, "CHUNK_BYTES", 3000 + 1000 * seed)
    assert schemas[0].transforms == schemas[1].transforms
    assert all(feature.is_fitted for feature in schemas[0].transforms.values())


@pytest.mark.parametrize("count", [1, 3])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    raw, config, tmp_path, monkeypatch, count
):
    monkeypatch.setattr(text_log, "CHUNK_BYTES", 3000)
    monkeypatch.setattr(encoding, "_TABLES_SHARE", 8 * 10**6)
    prepare([raw], tmp_path / "whole", config)
    with interrupted_after("fitted", count):
        prepare([raw], tmp_path / "data", config)
    prepare([raw], tmp_path / "data", config)
    assert files_of(tmp_path / "data") == files_of(tmp_path / "whole")


@pytest.mark.parametrize(
    "record_format", ["block", pytest.param("row", marks=pytest.mark.slow_variants)]
)
def test_other_record_formats_hold_the_same_features(
    raw, config, tmp_path, record_format
):
    from tfdlrm.data.reading import read_split

    prepare([raw], tmp_path / "parquet", config)
    output = tmp_path / record_format
    schema = prepare([raw], output, replace(config, record_format=record_format))
    assert verify(output) == []
    ((features, _),) = read_split(output, schema, "test", 10_000)
    rows = rows_of(tmp_path / "parquet", "test")
    for position, name in enumerate(schema.dense_features):
        assert (
            features["dense_features"][:, position].numpy().tolist()
            == rows[name].to_list()
        )
    for position, feature in enumerate(schema.categorical_features):
        ids = features["categorical_features"][:, position].numpy()
        assert ids.tolist() == rows[feature.name].to_list()


def test_fitted_numbers_stay_where_a_data_set_is_extended(
    raw, config, tmp_path, capsys
):
    first = prepare([raw], tmp_path / "first", config)
    later_rows = make_numbers(300, seed=9)
    later = write_numbers(tmp_path / "later.csv", later_rows)
    extend = PrepareConfig(extend=tmp_path / "first", record_format="parquet")
    capsys.readouterr()
    second = prepare([later], tmp_path / "second", extend)
    assert second.transforms == first.transforms
    assert "numbers of what is extended: 1 standardize" in capsys.readouterr().out
    # The same description is the same data set; another one is refused.
    described = replace(extend, columns=config.columns)
    assert prepare([later], tmp_path / "third", described).shards == second.shards
    for old, new, message in (
        (
            "quantiles: 20",
            "quantiles: 21",
            "price_rank: quantiles 20 of price there, q",
        ),
        (
            "[null, 500]",
            "[null, 400]",
            r"price: standardize of price, clip .*500.0\] t",
        ),
        ("transform: minmax", "transform: none", "visits_scaled: minmax of visits the"),
    ):
        config.columns.write_text(DESCRIPTION.replace(old, new))
        with pytest.raises(InputError, match=message):
            prepare([later], tmp_path / "fourth", described)


def test_columns_that_cannot_be_learned_from_are_reported(config, tmp_path, capsys):
    rows = [(y, "", "7", hour, city) for y, _, _, hour, city in ROWS[:100]]
    output = tmp_path / "data"
    prepare([write_numbers(tmp_path / "log.csv", rows)], output, config)
    printed = capsys.readouterr().out
    assert "price has no number in the 86 training rows: nothing can be" in printed
    assert "visits is 7 in all training rows that have a number there" in printed
    train = rows_of(output, "train")
    assert set(train["price"]) == set(train["visits_scaled"]) == {0}
    assert set(train["price_missing"]) == {1}
    assert set(train["price_bucket"]) == {1}


@pytest.mark.parametrize("bad", ["nan", "inf", "-Infinity", "1e39", "abc"])
def test_numbers_that_are_none_are_refused_or_skipped(config, tmp_path, bad):
    rows = [*ROWS[:20], ("1", bad, "2", "3", "c1"), *ROWS[20:60]]
    raw = write_numbers(tmp_path / "log.csv", rows)
    with pytest.raises(InputError, match=f"row 22: column 'price' is '{bad}', expecte"):
        prepare([raw], tmp_path / "data", config)
    skip = replace(config, on_bad_row="skip")
    schema = prepare([raw], tmp_path / "data", skip)
    assert sum(shard.rows for shard in schema.shards) == 60


def test_large_and_negative_numbers_stay_finite(config, tmp_path):
    extremes = ["3e38", "-3e38", "9007199254740993", "-1", "0", "1e-300"]
    rows = [("1", number, "-3", "3", "c1") for number in extremes] + ROWS[:94]
    raw = write_numbers(tmp_path / "log.csv", rows)
    prepare([raw], tmp_path / "data", config)
    train = rows_of(tmp_path / "data", "train")
    for name in ("price", "price_rank", "price_squared", "visits_scaled"):
        assert np.isfinite(train[name].to_numpy()).all()
    assert "-3" in values_by_id(tmp_path / "data", "visits_bucket").values()


def test_settings_give_the_numbers_of_criteo_the_same_features(tmp_path, monkeypatch):
    monkeypatch.setattr(buckets, "MAX_SHARD_ROWS", 100)
    raw = write_rows(tmp_path / "raw.tsv", make_rows(350, seed=1))
    config = PrepareConfig(
        dense_transform="standardize",
        dense_buckets="log2_squared",
        missing_flags=True,
        min_frequency=1,
        record_format="parquet",
    )
    output = tmp_path / "data"
    schema = prepare([raw], output, config)
    assert len(schema.dense_features) == 26
    assert len(schema.categorical_features) == 39
    numbers = [f"I{number}" for number in range(1, 14)]
    assert schema.number_columns == numbers
    texts = [line.split(b"\t")[1] for line in raw.read_bytes().splitlines()]
    values = np.array([float(text or "nan") for text in texts])
    train = values[:300]
    test = values[325:]
    rows = rows_of(output, "test")
    expected = (np.nan_to_num(test, nan=np.nanmean(train)) - np.nanmean(train)) / (
        np.nanstd(train)
    )
    np.testing.assert_allclose(rows["I1"], expected, rtol=1e-5, atol=1e-7)
    assert rows["I1_missing"].to_list() == np.isnan(test).astype(float).tolist()
    squared = [
        None if np.isnan(x) else int(x if x <= 2 else 2 + int(np.log(x) ** 2)) % 2**32
        for x in test
    ]
    vocabulary = values_by_id(output, "I1_bucket")
    buckets_of_ids = [vocabulary.get(id_) for id_ in rows["I1_bucket"]]
    assert [
        a for a, id_ in zip(buckets_of_ids, rows["I1_bucket"], strict=True) if id_ > 1
    ] == [b for b, id_ in zip(squared, rows["I1_bucket"], strict=True) if id_ > 1]
    assert [id_ == 1 for id_ in rows["I1_bucket"]] == np.isnan(test).tolist()


def test_settings_of_criteo_are_kept_or_refused_where_it_is_extended(tmp_path):
    raw = write_rows(tmp_path / "raw.tsv", make_rows(140, seed=1))
    later = write_rows(tmp_path / "later.tsv", make_rows(140, seed=2))
    config = PrepareConfig(dense_transform="quantiles:4", dense_buckets="log2_squared")
    first = prepare([raw], tmp_path / "first", config)
    extend = partial(PrepareConfig, extend=tmp_path / "first")
    second = prepare([later], tmp_path / "second", extend())
    assert second.transforms == first.transforms
    same = extend(dense_transform="quantiles:4", dense_buckets="log2_squared")
    assert prepare([later], tmp_path / "third", same).shards == second.shards
    message = "dense_transform is minmax, but what extend names was prepared otherwise"
    with pytest.raises(InputError, match=message):
        prepare([later], tmp_path / "fourth", extend(dense_transform="minmax"))
    with pytest.raises(InputError, match="missing_flags is True, but what extend name"):
        prepare([later], tmp_path / "fourth", extend(missing_flags=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dense_transform": "ln"}, "dense_transform is ln, expected log, none, stand"),
        ({"dense_transform": "quantiles"}, "or quantiles:N with N from 2 to 1,000"),
        ({"dense_buckets": "minmax"}, "dense_buckets is minmax, expected log2_squared"),
        ({"dense_buckets": "quantiles:1"}, "dense_buckets is quantiles:1, expected"),
        ({"dense_buckets": "quantiles:-5"}, "dense_buckets is quantiles:-5, expected"),
        (
            {"dialect": "facebook", "dense_transform": "none"},
            "the facebook dialect has no such choice: leave dense_transform out",
        ),
        (
            {"columns": "own.yaml", "missing_flags": True},
            "but own.yaml describes the columns: leave missing_flags out, and describe",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        PrepareConfig(**settings)


def test_settings_of_numbers_are_part_of_what_a_data_set_was_made_from(tmp_path):
    raw = write_rows(tmp_path / "raw.tsv", make_rows(70, seed=1))
    plain = prepare([raw], tmp_path / "data", PrepareConfig())
    assert "dense_transform" not in plain.source["settings"]
    with pytest.raises(InputError, match="missing_flags was false, is true; give ano"):
        prepare([raw], tmp_path / "data", PrepareConfig(missing_flags=True))
    prepare([raw], tmp_path / "flags", PrepareConfig(missing_flags=True))
    with pytest.raises(InputError, match="missing_flags was true, is false; give ano"):
        prepare([raw], tmp_path / "flags", PrepareConfig())
