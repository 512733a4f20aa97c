import json
from dataclasses import replace
from typing import get_args, get_type_hints

import numpy as np
import polars as pl
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ids.dialects import dialect_of, load_tables
from pipelines.ids.hashing import HashTable
from pipelines.logs import criteo
from pipelines.prepare import prepare
from tests.support.processes import run_command_line
from tests.support.raw_rows import make_rows, read_plainly, replace_field, write_rows
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.dialects import traits_of
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.data.vocabulary_files import write_vocabulary
from tfdlrm.predict import PredictCommand, predict

MUCH = 2**30
DIALECTS = {
    "default": PrepareConfig(min_frequency=5),
    "facebook": PrepareConfig(dialect="facebook"),
    "facebook modulo": PrepareConfig(dialect="facebook", max_index_range=20),
    "hash": PrepareConfig(dialect="hash", hash_buckets=30),
}


def vocabulary_of(values, config, work):
    series = pl.Series("C1", values, pl.UInt32)
    return dialect_of(config).vocabulary([series], MUCH, work)


def table_of(values, config, directory):
    """Return the table of a data set of one column after counting `values`."""
    dialect = dialect_of(config)
    vocabulary = vocabulary_of(values, config, directory)
    if vocabulary:
        write_vocabulary(vocabulary.values, directory, "C1")
    num_ids = dialect.describe("C1", vocabulary).num_ids
    return dialect.table(directory, CategoricalFeature("C1", num_ids))


def rows_of(directory, split):
    """Return labels, dense features and ids of a split that is in file order."""
    schema = FeatureSchema.load(directory)
    ((features, labels),) = read_split(directory, schema, split, 100_000)
    dense, ids = features["dense_features"], features["categorical_features"]
    return labels.numpy().ravel(), dense.numpy(), ids.numpy()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dialect": "facebook", "min_frequency": 3}, "min_frequency is 3, but the"),
        ({"dialect": "facebook", "hash_buckets": 3}, "hash_buckets is 3, but the"),
        ({"dialect": "facebook", "days": 7}, "days is 7, but the facebook dialect"),
        ({"dialect": "facebook", "test_days": 1}, "test_days is 1, but the facebook"),
        ({"dialect": "facebook", "validation_days": 0}, "validation_days is 0, but"),
        ({"dialect": "facebook", "max_index_range": 0}, "max_index_range is 0, expec"),
        ({"dialect": "hash", "min_frequency": 3}, "min_frequency is 3, but the"),
        ({"dialect": "hash", "max_index_range": 3}, "max_index_range is 3, but the"),
        ({"dialect": "hash", "hash_buckets": 2**31 - 2}, "expected from 1 to 2,147,"),
        ({"hash_buckets": 3}, "hash_buckets is 3, but the"),
        ({"min_frequency": 0}, "min_frequency is 0, expected from 1 to"),
    ],
)
def test_settings_of_other_dialects_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        PrepareConfig(**settings)


def test_every_dialect_has_properties_and_ids():
    choices, _ = get_args(get_type_hints(PrepareConfig)["dialect"])
    for name in get_args(choices):
        assert dialect_of(PrepareConfig(dialect=name)).traits is traits_of(name)


def test_a_dialect_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="dialect is md5, expected one of default, f"):
        traits_of("md5")


def test_every_dialect_has_its_defaults():
    assert PrepareConfig().min_frequency == 10
    assert PrepareConfig(dialect="facebook").max_index_range is None
    assert PrepareConfig(dialect="hash").hash_buckets == 100_000


def test_default_ids_are_by_frequency_and_then_by_value(tmp_path):
    config = PrepareConfig(min_frequency=2)
    values = [9, 9, None, 5, 5, 7, 7, 7, 1]
    vocabulary = vocabulary_of(values, config, tmp_path)
    assert vocabulary.values.rows() == [(7, 2, 3), (5, 3, 2), (9, 4, 2)]
    assert vocabulary.num_distinct == 4
    queries = pl.Series([1, None, 7, 5, 9, 3], dtype=pl.UInt32)
    ids = table_of(values, config, tmp_path).ids(queries)
    assert ids.tolist() == [0, 1, 2, 3, 4, 0]


def test_default_ids_of_text(tmp_path):
    series = pl.Series("C1", ["b", "é", None, "b", "a"])
    vocabulary = dialect_of(DIALECTS["default"]).vocabulary([series], MUCH, tmp_path)
    assert vocabulary.values.is_empty()
    vocabulary = dialect_of(PrepareConfig(min_frequency=1)).vocabulary(
        [series], MUCH, tmp_path
    )
    assert vocabulary.values["value"].to_list() == ["b", "a", "é"]


@given(
    st.lists(st.integers(0, 2**32 - 1) | st.none() | st.integers(0, 9)),
    st.none() | st.sampled_from([1, 2, 7, 2**31, 2**32]),
)
def test_facebook_ids_are_those_of_a_dictionary(tmp_path_factory, values, modulo):
    work = tmp_path_factory.getbasetemp()
    config = PrepareConfig(dialect="facebook", max_index_range=modulo)
    ids: dict[int, int] = {}
    expected = [
        ids.setdefault((value or 0) % (modulo or 2**32), len(ids)) for value in values
    ]
    table = table_of(values, config, work)
    assert table.ids(pl.Series(values, dtype=pl.UInt32)).tolist() == expected


def test_facebook_ids_of_values_never_seen(tmp_path):
    config = DIALECTS["facebook"]
    values = pl.Series([8, None, 5], dtype=pl.UInt32)
    with_zero = table_of([5, 6, None, 7], config, tmp_path)
    assert with_zero.ids(values).tolist() == [2, 2, 0]  # like missing ones
    without_zero = table_of([6, 5, 7], config, tmp_path)
    assert without_zero.ids(values).tolist() == [0, 0, 1]


@pytest.mark.parametrize("num_buckets", [1, 10, 100_000, 2**31 - 3])
def test_hashed_numbers_are_remainders(num_buckets):
    values = [0, 1, 25, 2**31, 2**32 - 1, None]
    expected = [1 if value is None else 2 + value % num_buckets for value in values]
    ids = HashTable(num_buckets).ids(pl.Series(values, dtype=pl.UInt32))
    assert ids.dtype == np.int32
    assert ids.tolist() == expected


def test_hashed_text_is_what_tensorflow_makes_of_it():
    texts = ["", "a", "user_17", "é", "日本語", "a\0b", "x" * 1000, "a", "tab\t"]
    expected = tf.strings.to_hash_bucket_fast(texts, 1000).numpy() + 2
    ids = HashTable(1000).ids(pl.Series([*texts, None]))
    assert ids.dtype == np.int32
    assert ids.tolist() == [*expected, 1]


@pytest.mark.slow_variants
@pytest.mark.parametrize("modulo", [None, 1000])
def test_facebook_reproduces_the_reference(golden, tmp_path, modulo):
    output = tmp_path / "data"
    option = "" if modulo is None else f" --max_index_range {modulo}"
    result = run_command_line(
        f"python -m pipelines.prepare --dialect facebook{option} --output {output} "
        f"--raw {golden / 'reference_preprocess.tsv.gz'}"
    )
    assert (result.returncode, result.stderr) == (0, "")
    name = "reference_preprocess" + ("" if modulo is None else f"_mod{modulo}")
    reference = np.load(golden / f"{name}.npz")
    schema = FeatureSchema.load(output)
    assert schema.vocabulary_sizes == reference["counts"].tolist()
    assert schema.split["rows_per_day"] == reference["day_counts"].tolist()

    # The reference's own split: days, and the halves of the last one.
    *training_days, last_day = np.split(
        np.arange(len(reference["y"])), np.cumsum(reference["day_counts"])[:-1]
    )
    train = np.concatenate(training_days)
    test, validation = np.array_split(last_day, 2)
    dense = np.log(reference["X_int"].astype(np.float32) + 1)
    expected = np.column_stack([reference["y"], reference["X_int"], reference["X_cat"]])
    for split, rows in [("train", train), ("validation", validation), ("test", test)]:
        labels, found_dense, ids = rows_of(output, split)
        counts = np.rint(np.expm1(found_dense.astype(np.float64)))
        rows_read = np.column_stack([labels, counts, ids])
        rows_expected = expected[rows]
        if split == "train":
            rows_read, rows_expected = (
                part[np.lexsort(part.T)] for part in (rows_read, rows_expected)
            )
        else:
            np.testing.assert_allclose(found_dense, dense[rows], rtol=3e-7)
        np.testing.assert_array_equal(rows_read, rows_expected)


def test_facebook_takes_several_files_for_days(tmp_path):
    rows = make_rows(90)
    raw = [
        write_rows(tmp_path / f"day_{day}", rows[start:end])
        for day, (start, end) in enumerate([(0, 50), (50, 75), (75, 90)])
    ]
    schema = prepare(raw, tmp_path / "data", DIALECTS["facebook"])
    assert schema.split["rows_per_day"] == [50, 25, 15]
    assert schema.split["rows"] == {"train": 75, "test": 8, "validation": 7}
    labels = read_plainly(rows)[0]
    for split, part in [("test", labels[75:83]), ("validation", labels[83:])]:
        assert rows_of(tmp_path / "data", split)[0].tolist() == part.tolist()


@pytest.fixture(scope="module", params=DIALECTS)
def prepared(request, tmp_path_factory):
    """Raw rows, the data set prepared from them, and its settings."""
    directory = tmp_path_factory.mktemp("dialect")
    rows = make_rows(2000)
    raw = write_rows(directory / "train.txt", rows)
    config = DIALECTS[request.param]
    prepare([raw], directory / "data", config)
    return raw, directory / "data", config


def test_the_schema_tells_how_to_encode_again(prepared):
    _, directory, config = prepared
    schema = FeatureSchema.load(directory)
    assert dialect_of(schema) == dialect_of(config)
    reserved = {} if config.dialect == "facebook" else {"unknown": 0, "missing": 1}
    assert schema.reserved_ids == reserved
    contents = json.loads((directory / "schema.json").read_text())
    assert contents["dialect"] == config.dialect


@pytest.mark.slow_variants
def test_raw_rows_are_scored_with_the_ids_they_were_prepared_with(
    prepared, tmp_path, monkeypatch
):
    raw, directory, _ = prepared
    scored = []

    class Scorer:
        path = directory
        schema = FeatureSchema.load(directory).without_data()
        extra_directory = directory

        def __call__(self, features):
            scored.append(features)
            return tf.zeros([len(features["dense_features"]), 1])

    monkeypatch.setattr("tfdlrm.exporting.scorer.load_scorer", lambda path: Scorer())
    command = PredictCommand(tmp_path, raw, tmp_path / "out.csv", batch_size=300)
    assert predict(command) == 2000
    dense, ids = (
        np.concatenate([np.asarray(features[name]) for features in scored])
        for name in ("dense_features", "categorical_features")
    )
    schema = FeatureSchema.load(directory)
    end = schema.num_rows("train")
    for split in list(schema.split["rows"])[1:]:
        start, end = end, end + schema.num_rows(split)
        _, expected_dense, expected_ids = rows_of(directory, split)
        np.testing.assert_array_equal(ids[start:end], expected_ids)
        np.testing.assert_array_equal(dense[start:end], expected_dense)
    assert end == 2000


def test_values_never_seen_are_scored_in_every_dialect(prepared):
    _, directory, config = prepared
    tables = load_tables(directory, FeatureSchema.load(directory))
    sizes = FeatureSchema.load(directory).vocabulary_sizes
    values = pl.Series([4_000_000_001, None], dtype=pl.UInt32)
    for table, size in zip(tables, sizes, strict=True):
        unseen, missing = table.ids(values)
        assert 0 <= unseen < size
        if config == DIALECTS["facebook"]:
            assert unseen == missing
        elif config.dialect != "facebook":
            assert missing == 1


def test_the_hash_dialect_counts_nothing(tmp_path):
    row = make_rows(1)[0]
    rows = [replace_field(row, 15, value) for value in (b"0000001f", b"", b"0000001e")]
    raw = write_rows(tmp_path / "train.txt", rows * 7)
    schema = prepare([raw], tmp_path / "data", DIALECTS["hash"])
    assert schema.vocabulary_sizes == [32] * len(criteo.CATEGORICAL_FEATURES)
    assert not (tmp_path / "data" / "vocabulary").exists()
    tables = load_tables(tmp_path, schema)
    assert tables[0].ids(pl.Series([31, None, 30], dtype=pl.UInt32)).tolist() == [
        3,
        1,
        2,
    ]


def test_data_of_another_dialect_is_no_data_of_a_model(prepared):
    from tfdlrm.exporting.scorer import check_columns

    schema = FeatureSchema.load(prepared[1])
    check_columns(schema, schema, prepared[1], prepared[1])
    name = {"default": "dialect", "facebook": "max_index_range"}.get(
        schema.dialect, "hash_buckets"
    )
    other_schema = replace(schema, **{name: "hash" if name == "dialect" else 7})
    with pytest.raises(InputError, match=f"trained with: {name}: "):
        check_columns(schema, other_schema, prepared[1], prepared[1])
