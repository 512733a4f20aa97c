"""Frames of every library get the ids that preparing gives the same rows."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import tensorflow as tf

import tfdlrm
from pipelines.prepare import prepare
from tests.support.own_log import ROWS
from tfdlrm.base.errors import InputError
from tfdlrm.config import DLRMConfig, PrepareConfig
from tfdlrm.frames.encoder import FeatureEncoder

DESCRIPTION = {
    "label": {"name": "bought", "positive": "yes"},
    "dense": ["price", {"name": "age", "transform": "none"}],
    "categorical": ["user", {"name": "tags", "multi_hot": True}],
}


def shop(num_rows=400):
    """Return rows as a frame of pandas, with missing values and lists."""
    frame = pd.DataFrame(ROWS[:num_rows])[["bought", "price", "age", "user", "tags"]]
    frame["price"] = frame["price"].astype(float)
    frame["age"] = pd.to_numeric(frame["age"].replace("", None)).astype("Int64")
    frame["tags"] = [[tag for tag in text.split("|") if tag] for text in frame["tags"]]
    frame.index = np.arange(num_rows)[::-1] + 7
    return frame


FRAME = shop()


@pytest.fixture(scope="module")
def encoder():
    return FeatureEncoder(DESCRIPTION, min_frequency=3).adapt(FRAME)


def arrays(features):
    """Return all ids in one array, and the number of ids of each bag, if any."""
    ids = features["categorical_features"]
    if isinstance(ids, tf.RaggedTensor):
        return [ids.flat_values.numpy(), ids.values.row_lengths().numpy()]
    return [np.asarray(ids)]


def assert_same(features, expected):
    dense, expected_dense = features["dense_features"], expected["dense_features"]
    np.testing.assert_array_equal(dense, expected_dense)
    for ids, expected_ids in zip(arrays(features), arrays(expected), strict=True):
        np.testing.assert_array_equal(ids, expected_ids)


def prepared_rows(frame, tmp_path, config):
    """Return the training rows of a data set, in the order of the frame, and schema."""
    frame.to_parquet(tmp_path / "log.parquet")
    pl.DataFrame(frame)  # no index counts
    prepare([tmp_path / "log.parquet"], tmp_path / "data", config)
    schema = tfdlrm.FeatureSchema.load(tmp_path / "data")
    batches = list(tfdlrm.read_split(tmp_path / "data", schema, "train", 10_000))
    assert len(batches) == 1
    return batches[0], schema


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    directory = tmp_path_factory.mktemp("prepared")
    (directory / "columns.yaml").write_text(
        "format: parquet\nlabel: {name: bought, positive: 'yes'}\n"
        "dense: [price, {name: age, transform: none}]\n"
        "categorical: [user, {name: tags, multi_hot: true}]\n"
    )
    config = PrepareConfig(
        columns=directory / "columns.yaml",
        min_frequency=3,
        validation_days=0,
        test_days=0,
        days=1,
    )
    rows, schema = prepared_rows(FRAME, directory, config)
    return directory, rows, schema


def sorted_rows(features, labels):
    """Return the rows in an order of their own, since preparing shuffles them."""
    ids, *lengths = arrays(features)
    if lengths:
        bags = np.split(ids, np.cumsum(lengths[0])[:-1])
        width = len(bags) // len(labels)
        ids = [[*map(list, bags[row * width :][:width])] for row in range(len(labels))]
    dense = np.asarray(features["dense_features"]).tolist()
    return sorted(
        repr(row)
        for row in zip(dense, map(list, ids), np.asarray(labels).tolist(), strict=True)
    )


def test_ids_are_those_of_preparing_the_same_rows(encoder, prepared):
    directory, (features, labels), schema = prepared
    assert sorted_rows(encoder(FRAME), encoder.label(FRAME)) == sorted_rows(
        features, labels
    )
    own = encoder.to_schema()
    for name in ("dense_features", "categorical_features", "columns", "label"):
        assert getattr(own, name) == getattr(schema, name)
    assert own.vocabulary_contents == schema.vocabulary_contents
    from_file = FeatureEncoder(directory / "columns.yaml", min_frequency=3).adapt(FRAME)
    assert from_file.vocabularies == encoder.vocabularies


def test_an_encoder_loads_from_a_data_set(encoder, prepared):
    directory, _, _ = prepared
    loaded = FeatureEncoder.load(directory / "data")
    assert_same(loaded(FRAME), encoder(FRAME))
    np.testing.assert_array_equal(loaded.label(FRAME), encoder.label(FRAME))


def test_hashed_ids_are_those_of_preparing(prepared, tmp_path):
    directory, _, _ = prepared
    config = PrepareConfig(
        columns=directory / "columns.yaml",
        dialect="hash",
        hash_buckets=50,
        validation_days=0,
        test_days=0,
        days=1,
    )
    (features, labels), _ = prepared_rows(FRAME, tmp_path, config)
    encoder = FeatureEncoder(DESCRIPTION, dialect="hash", hash_buckets=50).adapt(FRAME)
    assert sorted_rows(encoder(FRAME), encoder.label(FRAME)) == sorted_rows(
        features, labels
    )
    assert encoder.vocabularies == {}
    assert "50 ids by a hash" in encoder.describe()


CONTAINERS = {
    "polars": pl.from_pandas,
    "arrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "record batch": lambda frame: pa.RecordBatch.from_pandas(frame),
    "lists": lambda frame: frame.to_dict("list"),
    "rows": lambda frame: frame.to_dict("records"),
    "series": lambda frame: {name: frame[name] for name in frame},
    "polars series": lambda frame: {
        column.name: column for column in pl.from_pandas(frame)
    },
    "shuffled columns": lambda frame: frame[[*frame][::-1]],
    "text categories": lambda frame: frame.astype({"user": "category"}),
    "arrow types": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "float32 ages": lambda frame: frame.astype({"age": "Float32"}),
    "decimals": lambda frame: pa.Table.from_pandas(frame).set_column(
        2, "age", pa.array(frame["age"], pa.int64()).cast(pa.decimal128(22, 2))
    ),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_frames_of_every_library_have_the_same_features(encoder, container):
    assert_same(encoder(CONTAINERS[container](FRAME)), encoder(FRAME))
    again = FeatureEncoder(DESCRIPTION, min_frequency=3).adapt(
        CONTAINERS[container](FRAME)
    )
    assert again.vocabularies == encoder.vocabularies


def test_unknown_and_missing_values_have_ids_of_their_own():
    encoder = FeatureEncoder({"categorical": ["c"]}).adapt({"c": ["a", "a", "b"]})
    new_rows = {"c": ["b", "z", None, "", "a", float("nan"), pd.NA, pd.NaT]}
    ids = encoder(new_rows)["categorical_features"]
    assert ids.ravel().tolist() == [3, 0, 1, 1, 2, 1, 1, 1]


def test_integers_that_became_floats_keep_their_ids():
    encoder = FeatureEncoder().adapt(pd.DataFrame({"user_id": [7, 8, 8]}))
    with_missing = pd.DataFrame({"user_id": [8, None, 7]})
    assert encoder(with_missing)["categorical_features"].ravel().tolist() == [2, 1, 3]


def test_a_fit_takes_what_an_encoder_returns(encoder):
    config = DLRMConfig(embedding_dim=4, bottom_mlp_units=(8,), top_mlp_units=(8,))
    model = tfdlrm.models.build_model(encoder.to_schema(), config)
    loss = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(optimizer=tfdlrm.optimizers.Adagrad(0.1), loss=loss)
    history = model.fit(
        encoder(FRAME), encoder.label(FRAME), batch_size=64, epochs=3, verbose=0
    )
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert model.predict(encoder(FRAME.head(9)), verbose=0).shape == (9, 1)


def test_an_exported_model_scores_the_rows_as_the_model_does(encoder, tmp_path):
    frame = FRAME.head(20)
    config = DLRMConfig(embedding_dim=4, bottom_mlp_units=(8,), top_mlp_units=(8,))
    model = tfdlrm.models.build_model(encoder.to_schema(), config)
    version = encoder.export(model, tmp_path / "model")
    other = FeatureEncoder({"dense": ["price"]}).adapt(FRAME)
    with pytest.raises(InputError, match=r"has version 1, whose clients .*=True"):
        other.export(model, tmp_path / "model")
    loaded = FeatureEncoder.load(tmp_path / "model")
    assert_same(loaded(frame), encoder(frame))
    raw = tf.saved_model.load(str(version)).signatures["raw"]
    tags = tf.ragged.constant(frame["tags"].tolist()).to_tensor()
    ages = [f"{age}" for age in frame["age"].astype(object).fillna("")]
    probability = raw(
        price=tf.constant(frame["price"].astype(str).tolist()),
        age=tf.constant(ages),
        user=tf.constant(frame["user"].tolist()),
        tags=tags,
    )["probability"]
    expected = tf.sigmoid(model(encoder(frame)))
    np.testing.assert_allclose(probability, expected, rtol=1e-5)


def data_set(frame, *labels):
    columns = {
        "price": frame["price"].to_numpy(),
        "age": frame["age"].astype("Float64").to_numpy(float, na_value=np.nan),
        "user": frame["user"].tolist(),
        "tags": tf.ragged.constant(frame["tags"].tolist(), dtype=tf.string),
    }
    rows = (columns, *labels) if labels else {**columns, "bought": frame["bought"]}
    return tf.data.Dataset.from_tensor_slices(rows).batch(64)


def test_a_data_set_of_tensorflow_has_the_same_features(encoder):
    batches = list(encoder(data_set(FRAME)))
    dense = np.concatenate([features["dense_features"] for features, _ in batches])
    ids = tf.concat([features["categorical_features"] for features, _ in batches], 0)
    features = {"dense_features": dense, "categorical_features": ids}
    assert_same(features, encoder(FRAME))
    labels = np.concatenate([label for _, label in batches])
    np.testing.assert_array_equal(labels, encoder.label(FRAME))
    adapted = FeatureEncoder(DESCRIPTION, min_frequency=3).adapt(data_set(FRAME))
    assert adapted.vocabularies == encoder.vocabularies


def test_other_parts_of_a_data_set_stay(encoder):
    weights = np.arange(len(FRAME))
    (features, label, weight) = next(
        iter(encoder(data_set(FRAME, encoder.label(FRAME), weights)))
    )
    assert features["dense_features"].shape == (*label.shape[:1], 2)
    assert weight.numpy().tolist() == weights[:64].tolist()


def test_rows_that_are_not_batched_are_refused():
    encoder = FeatureEncoder({"dense": ["a"]}).adapt({"a": [1.0]})
    rows = tf.data.Dataset.from_tensor_slices({"a": [1.0]})
    with pytest.raises(InputError, match=r"call \.batch\(256\) first"):
        encoder(rows)
    with pytest.raises(InputError, match="expected dictionaries of columns by name"):
        encoder(tf.data.Dataset.from_tensor_slices([1.0]).batch(1))


def test_a_data_set_without_a_column_is_refused_before_it_is_read():
    encoder = FeatureEncoder({"dense": ["price"]}).adapt({"price": [1.0]})
    rows = tf.data.Dataset.from_tensor_slices({"prices": [1.0]}).batch(1)
    with pytest.raises(InputError, match=r"no column 'price', .*; did you mean prices"):
        encoder(rows)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_are_alike(encoder, duplicate):
    assert_same(duplicate(encoder)(FRAME), encoder(FRAME))


def test_what_is_saved_comes_back(encoder, tmp_path):
    encoder.save(tmp_path / "of shop" / "encoder")
    encoder.save(tmp_path / "of shop" / "encoder")  # as a cell that is run again
    loaded = FeatureEncoder.load(tmp_path / "of shop" / "encoder")
    assert_same(loaded(FRAME), encoder(FRAME))
    assert loaded.to_schema() == encoder.to_schema()


def test_no_other_directory_is_replaced(tmp_path):
    encoder = FeatureEncoder().adapt({"c": ["a"]})
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds notes\.txt, expected a new directory"):
        encoder.save(tmp_path)
    with pytest.raises(InputError, match="is a file, expected a new directory"):
        encoder.save(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(InputError, match=r"holds no schema\.json"):
        FeatureEncoder.load(tmp_path)


def test_nothing_is_encoded_before_values_are_known():
    encoder = FeatureEncoder(DESCRIPTION)
    for use in (encoder, encoder.label, lambda frame: encoder.to_schema()):
        with pytest.raises(InputError, match=r"expected adapt\(frame\) first"):
            use(FRAME)
    assert repr(encoder) == "FeatureEncoder(not adapted)"


def test_rows_without_any_are_encoded_but_teach_nothing(encoder):
    features = encoder(FRAME.head(0))
    assert features["dense_features"].shape == (0, 2)
    assert features["categorical_features"].shape[0] == 0
    with pytest.raises(InputError, match="the frame has no rows"):
        FeatureEncoder(DESCRIPTION).adapt(FRAME.head(0))


def test_adapting_again_forgets_the_values_before():
    encoder = FeatureEncoder().adapt({"c": ["a"]}).adapt({"c": ["b", "b"]})
    assert encoder.vocabularies == {"c": [None, None, "b"]}


def test_values_of_criteos_rows_are_hashes(tmp_path):
    from pipelines.synthetic import write_raw

    write_raw(tmp_path / "criteo.tsv", 2000, seed=0)
    config = PrepareConfig(min_frequency=2, days=1, validation_days=0, test_days=0)
    prepare([tmp_path / "criteo.tsv"], tmp_path / "data", config)
    schema = tfdlrm.FeatureSchema.load(tmp_path / "data")
    features, labels = next(
        iter(tfdlrm.read_split(tmp_path / "data", schema, "train", 9000))
    )
    names = [
        "label",
        *schema.dense_features,
        *(f.name for f in schema.categorical_features),
    ]
    frame = pd.read_csv(tmp_path / "criteo.tsv", sep="\t", names=names, dtype=str)
    encoder = FeatureEncoder.load(tmp_path / "data")
    assert sorted_rows(encoder(frame), encoder.label(frame)) == sorted_rows(
        {name: value.numpy() for name, value in features.items()}, labels
    )
    frame.loc[3, "C1"] = "no hash"
    with pytest.raises(InputError, match="column 'C1' is 'no hash'"):
        encoder(frame)


def test_a_description_in_a_file_keeps_the_format_of_its_files(tmp_path):
    text = (
        'label: {name: bought, positive: "yes"}\ndense: [price]\ncategorical: [user]\n'
    )
    (tmp_path / "columns.yaml").write_text(text)
    for path in (tmp_path / "columns.yaml", str(tmp_path / "columns.yaml")):
        of_csv = FeatureEncoder(path).adapt(FRAME)
        assert of_csv.to_schema().columns["format"] == "csv"
    described = {"label": {"name": "bought", "positive": "yes"}, "dense": ["price"]}
    of_frame = FeatureEncoder({**described, "categorical": ["user"]}).adapt(FRAME)
    assert of_frame.to_schema().columns["format"] == "parquet"
    assert_same(of_csv(FRAME), of_frame(FRAME))
