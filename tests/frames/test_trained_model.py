"""A loaded model on frames, next to the commands and to its own run."""

from contextlib import redirect_stdout

import numpy as np
import pandas as pd
import polars as pl
import pytest
import tensorflow as tf

import tfdlrm
from tests.support.made_once import made_once
from tests.support.own_log import CONFIG, DESCRIPTION, ROWS, write_log
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.config import LogisticRegressionConfig, MFConfig, TrainConfig
from tfdlrm.config.models import DLRMConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.frames.trained_model import load
from tfdlrm.models import build_model
from tfdlrm.predict import PredictCommand, predict
from tfdlrm.runs.training_run import run_training

NAMES = ["price", "age", "user", "tags", "shops"]
MODEL = DLRMConfig(embedding_dim=4, bottom_mlp_units=(8,), top_mlp_units=(8,))


@pytest.fixture(scope="module")
def own_run(tmp_path_factory):
    """Directory of a log, its data set, a run on it, and the exported version."""

    def write(directory):
        write_log(directory / "log.csv", ROWS)
        (directory / "columns.yaml").write_text(DESCRIPTION)
        config = TrainConfig(
            data_dir=directory / "data",
            model=MODEL,
            evaluations_per_epoch=1,
            run_dir=directory / "run",
            export_dir=directory / "shop",
        )
        with (directory / "output").open("w") as file, redirect_stdout(file):
            tfdlrm.prepare(
                directory / "log.csv",
                directory / "data",
                CONFIG,
                columns=directory / "columns.yaml",
            )
            run_training(config)

    return made_once(tmp_path_factory, "own_run", write)


@pytest.fixture(scope="module")
def model(own_run):
    return load(own_run / "shop")


def frame(num_rows=None):
    """Return the rows with numbers as numbers and lists as lists."""
    rows = pd.DataFrame(ROWS[:num_rows])[NAMES]
    rows["price"] = rows["price"].astype(float)
    rows["age"] = pd.to_numeric(rows["age"].replace("", None)).astype("Int64")
    for name, separator in (("tags", "|"), ("shops", " ")):
        rows[name] = [text.split(separator) if text else [] for text in rows[name]]
    return rows


def test_scores_are_those_of_the_command(model, own_run, tmp_path):
    output = tmp_path / "probabilities.csv"
    predict(PredictCommand(own_run / "shop", own_run / "log.csv", output))
    expected = pl.read_csv(output)["probability"].to_numpy()
    scores = model.score(frame())
    assert scores.dtype == np.float64
    assert scores.shape == (len(ROWS),)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_frames_of_every_library_have_the_same_scores(model):
    expected = model.score(frame(20))
    lists = frame(20).astype(object).where(frame(20).notna(), None).to_dict("list")
    rows = [
        dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)
    ]
    for other in (lists, rows, pl.DataFrame(lists), pl.DataFrame(lists).to_arrow()):
        np.testing.assert_array_equal(model.score(other), expected)
    assert model.score(frame(5)[:0]).shape == (0,)


def test_a_run_and_its_versions_are_loaded(own_run):
    for name in ("run", "shop", "shop/1"):
        assert load(str(own_run / name)).path == own_run / "shop" / "1"


def test_it_knows_schema_vocabularies_and_measures(model, own_run):
    schema = FeatureSchema.load(own_run / "data")
    assert model.schema.categorical_features == schema.categorical_features
    users = model.vocabularies["user"]
    assert users[:2] == [None, None]
    assert set(users[2:]) < {row["user"] for row in ROWS}
    assert model.measures["test"]["rows"] == schema.num_rows("test")
    assert tfdlrm.evaluate(own_run / "shop", own_run / "data") == model.measures


def test_a_frame_with_labels_is_evaluated_like_the_log(model, own_run):
    labelled = frame().assign(bought=[row["bought"] for row in ROWS])
    expected = tfdlrm.evaluate(own_run / "shop", raw=own_run / "log.csv")["raw"]
    measures = model.evaluate(labelled)
    for name in ("rows", "auc", "log_loss", "accuracy"):
        assert measures[name] == pytest.approx(expected[name], rel=1e-5), name


def test_its_keras_model_computes_the_same(model):
    features = model.encoder(frame(50))
    probabilities = tf.sigmoid(model.keras_model(features)).numpy().ravel()
    np.testing.assert_allclose(model.score(frame(50)), probabilities, rtol=1e-5)


def test_embeddings_are_those_of_the_run(model, own_run):
    trained = build_model(model.schema, MODEL)
    CheckpointDirectory(own_run / "run" / "checkpoints").load_weights(trained)
    for position, feature in enumerate(model.schema.categorical_features):
        table = model.embedding(feature.name)
        ids = np.zeros((len(table), 3), np.int64)
        ids[:, position] = table.index
        expected = trained.embeddings(ids)[:, position]
        np.testing.assert_array_equal(np.stack(table["vector"]), expected)
        assert [*table["note"][:3]] == ["unknown", "missing", ""]
        assert [*table["value"]] == model.vocabularies[feature.name]


def test_a_contribution_is_what_changes_without_the_value(model):
    row = {"price": 12.5, "age": 40, "user": "u1", "tags": ["news", "x"], "shops": []}
    table = model.explain(row)
    probability, without_user, without_tags = model.score(
        [row, {**row, "user": None}, {**row, "tags": []}]
    )
    by_column = table.set_index("column")
    assert table.attrs["probability"] == probability
    assert by_column["probability_without"]["user"] == without_user
    assert by_column["contribution"]["user"] == probability - without_user != 0
    assert by_column["contribution"]["tags"] == probability - without_tags != 0
    assert by_column["contribution"]["shops"] == 0  # nothing to leave out
    assert by_column["value"]["tags"] == ["news", "x"]
    assert table["contribution"].abs().is_monotonic_decreasing
    assert set(table["column"]) == set(NAMES)


def test_a_row_of_a_frame_is_explained_like_a_dictionary(model):
    expected = model.explain(frame(1).to_dict("records")[0])
    for row in (frame(1), frame(1).iloc[0], pl.from_pandas(frame(1))):
        pd.testing.assert_frame_equal(model.explain(row), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.explain(frame(2)), "explain got 2 rows, expected one"),
        (lambda model: model.explain({"price": 1}), "has no column 'age'"),
        (
            lambda model: model.embedding("users"),
            "'users' is no categorical column .*; did you mean user",
        ),
        (lambda model: model.embedding("price"), "'price' is no categorical column"),
        (lambda model: model.score([{"user": "u1"}]), "has no column 'price'"),
    ],
)
def test_what_cannot_be_answered_is_refused(call, message, model):
    with pytest.raises(InputError, match=message):
        call(model)


def test_no_model_is_refused(tmp_path, own_run):
    with pytest.raises(InputError, match="holds no model: expected the directory of"):
        load(tmp_path)
    with pytest.raises(InputError, match="holds no model"):
        load(own_run / "data")
    with pytest.raises(InputError, match="load it by keras"):
        load(own_run / "run" / "model.keras")


@pytest.mark.parametrize(
    ("config", "column"),
    [
        (LogisticRegressionConfig(), "user"),
        (MFConfig("user", "tags", embedding_dim=4), "shops"),
    ],
)
def test_a_model_without_vectors_says_so(config, column, own_run):
    model = load(own_run / "shop")
    vars(model)["keras_model"] = build_model(model.schema, config)
    with pytest.raises(InputError, match=f"has no vectors of '{column}'"):
        model.embedding(column)


def test_matrix_factorization_has_vectors_of_its_two_columns(own_run):
    model = load(own_run / "shop")
    config = MFConfig("user", "tags", embedding_dim=4)
    vars(model)["keras_model"] = factors = build_model(model.schema, config)
    tags = model.embedding("tags")
    pairs = np.stack([np.zeros(len(tags), int), tags.index], axis=1)
    vectors = np.asarray(factors.embeddings(pairs))[:, 1]
    np.testing.assert_array_equal(np.stack(tags["vector"]), vectors)


@pytest.mark.slow
def test_tables_of_8_bits_compute_as_the_version(int8_exported, raw_file):
    version, _ = int8_exported
    model = load(version)
    rows = pl.read_csv(
        raw_file, separator="\t", has_header=False, n_rows=50, infer_schema=False
    )
    rows.columns = [
        "label",
        *model.schema.dense_features,
        *(f.name for f in model.schema.categorical_features),
    ]
    rows = rows.with_columns(pl.col(model.schema.dense_features).cast(pl.Int64))
    probabilities = tf.sigmoid(model.keras_model(model.encoder(rows))).numpy().ravel()
    np.testing.assert_allclose(model.score(rows), probabilities, rtol=1e-5)
    values = {value for value in model.embedding("C1")["value"] if value is not None}
    assert values & set(rows["C1"])


def test_rows_of_unknown_values_are_warned_of(model):
    rows = pd.concat([frame(1)] * 100).assign(user="NEW")
    with pytest.warns(UserWarning, match="user: 100 of 100 values .* are unknown"):
        model.score(rows)


def test_frames_are_not_taken_for_paths():
    with pytest.raises(InputError, match=r"raw is .*, expected the path of a log"):
        tfdlrm.prepare(pd.DataFrame({"price": [1.0]}), "data")
    with pytest.raises(InputError, match=r"expected a path; .*evaluate\(frame\)"):
        tfdlrm.evaluate("saved_models/shop", pd.DataFrame({"price": [1.0]}))
