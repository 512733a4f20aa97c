import json

import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics as oracle

from tfdlrm.base.command_line import parse
from tfdlrm.base.errors import InputError
from tfdlrm.config.models import MFConfig
from tfdlrm.data.number_features import NumberFeature
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.data.transforms import IsMissing, LogSquared
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.importance import ImportanceCommand, importance
from tfdlrm.metrics.permutation import (
    Rows,
    as_table,
    permutation_importances,
    sample_rows,
)
from tfdlrm.models import build_model

pytestmark = pytest.mark.usefixtures("loaded_once")

SCHEMA = FeatureSchema(("I1", "I2"), (CategoricalFeature("C1", 5),))


def rows(num_rows=20_000):  # more than are scored at once
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(num_rows, 2)).astype("float32")
    ids = rng.integers(0, 5, (num_rows, 1))
    labels = rng.random(num_rows) < 1 / (1 + np.exp(-dense[:, 0] - ids[:, 0]))
    features = {"dense_features": dense, "categorical_features": ids}
    return Rows(
        {name: tf.constant(value) for name, value in features.items()},
        labels.astype("float32"),
    )


def score(features):
    """Return scores from I1 and from the sums of C1's bags."""
    ids = features["categorical_features"]
    if isinstance(ids, tf.RaggedTensor):
        ids = tf.reduce_sum(ids, axis=2)
    total = features["dense_features"][:, :1] + tf.cast(ids, tf.float32)
    return tf.sigmoid(total)


def test_importances_are_those_of_the_definition():
    tested_rows = rows()
    actual = permutation_importances(score, tested_rows, SCHEMA, repeats=2, seed=3)
    assert [column.name for column in actual] == ["I1", "I2", "C1"]
    dense = tested_rows.features["dense_features"].numpy()
    ids = tested_rows.features["categorical_features"].numpy()

    def measures(first, third):
        probabilities = 1 / (1 + np.exp(-first.astype("float64") - third[:, 0]))
        return (
            oracle.roc_auc_score(tested_rows.labels, probabilities),
            oracle.log_loss(tested_rows.labels, probabilities),
        )

    unshuffled = measures(dense[:, 0], ids)
    for repeat in range(2):
        order = np.random.default_rng([3, repeat]).permutation(len(dense))
        for column, shuffled in (
            (actual[0], measures(dense[order, 0], ids)),
            (actual[1], unshuffled),
            (actual[2], measures(dense[:, 0], ids[order])),
        ):
            drop, rise = column.auc_drop[repeat], column.log_loss_rise[repeat]
            assert drop == pytest.approx(unshuffled[0] - shuffled[0], abs=1e-6)
            assert rise == pytest.approx(shuffled[1] - unshuffled[1], abs=1e-6)


def test_a_column_that_the_model_does_not_look_at_costs_nothing():
    actual = permutation_importances(score, rows(), SCHEMA, repeats=3, seed=0)
    assert actual[1].auc_drop == actual[1].log_loss_rise == (0, 0, 0)
    assert min(actual[0].auc_drop) > 0.05
    assert (
        as_table(actual).splitlines()[-1]
        == "| I2 | 0.0000 ± 0.0000 | 0.0000 ± 0.0000 |"
    )


def test_features_of_one_column_are_shuffled_together():
    tested_rows = rows(500)
    schema = FeatureSchema(
        ("price", "price_missing"),
        (CategoricalFeature("price_bucket", 5),),
        transforms={
            "price_missing": NumberFeature("price", IsMissing()),
            "price_bucket": NumberFeature("price", LogSquared()),
        },
    )
    (price,) = permutation_importances(score, tested_rows, schema, repeats=2, seed=3)
    assert price.name == "price"
    probabilities = score(tested_rows.features).numpy().ravel()
    auc = oracle.roc_auc_score(tested_rows.labels, probabilities)
    for repeat, drop in enumerate(price.auc_drop):
        order = np.random.default_rng([3, repeat]).permutation(500)
        shuffled = oracle.roc_auc_score(tested_rows.labels, probabilities[order])
        assert drop == pytest.approx(auc - shuffled, abs=1e-6)


def test_bags_are_shuffled_whole():
    tested_rows = rows(500)
    ids = tested_rows.features["categorical_features"]
    bags = tf.RaggedTensor.from_tensor(ids[..., None], ragged_rank=2)
    ragged = Rows(
        {**tested_rows.features, "categorical_features": bags}, tested_rows.labels
    )
    assert permutation_importances(
        score, ragged, SCHEMA, repeats=2, seed=0
    ) == permutation_importances(score, tested_rows, SCHEMA, repeats=2, seed=0)


def test_the_sample_is_random_rows_each_at_most_once():
    labels = np.arange(1_000, dtype="float32")[:, None]
    features = {"dense_features": labels}
    batches = tf.data.Dataset.from_tensor_slices((features, labels)).batch(64)
    sample = sample_rows(batches, 1_000, 100, seed=0)
    assert len(set(sample.labels)) == 100
    assert abs(sample.labels.mean() - 500) < 100  # from all of the split
    np.testing.assert_array_equal(
        sample.features["dense_features"][:, 0], sample.labels
    )
    same_seed, other_seed = (sample_rows(batches, 1_000, 100, seed) for seed in (0, 1))
    np.testing.assert_array_equal(same_seed.labels, sample.labels)
    assert set(other_seed.labels) != set(sample.labels)
    assert len(sample_rows(batches, 1_000, 5_000, seed=0).labels) == 1_000


@pytest.fixture(scope="module")
def model(data_dir, tmp_path_factory):
    """An exported model that uses C1 and C2 only."""
    schema = FeatureSchema.load(data_dir)
    untrained = build_model(schema, MFConfig("C1", "C2", embedding_dim=4))
    directory = tmp_path_factory.mktemp("model")
    return export_model(untrained, schema, data_dir, directory)


def test_the_command_writes_numbers_a_table_and_a_picture(
    model, data_dir, tmp_path, capsys
):
    output = tmp_path / "importance"
    command = ImportanceCommand(model, data_dir, output, rows=300, repeats=2)
    actual = importance(command)
    assert len(actual) == 13 + 26
    looked_at = {column.name for column in actual if any(column.log_loss_rise)}
    assert looked_at == {"C1", "C2"}
    written = json.loads((output / "importance.json").read_text())
    assert written["rows"] == "300 of 428 test rows"
    assert [column["name"] for column in written["columns"]] == [
        column.name for column in actual
    ]
    table = as_table(actual)
    assert table in (output / "importance.md").read_text()
    assert table in capsys.readouterr().out
    assert (output / "importance.png").read_bytes().startswith(b"\x89PNG")
    assert importance(command) == actual


def test_a_split_that_is_not_there_is_refused(model, data_dir, tmp_path):
    with pytest.raises(InputError, match="split is 'holdout', expected one of train"):
        importance(ImportanceCommand(model, data_dir, tmp_path, split="holdout"))


def test_labels_all_alike_are_refused(model, data_dir, tmp_path):
    with pytest.raises(InputError, match="labels all alike"):
        importance(ImportanceCommand(model, data_dir, tmp_path, rows=1))


def test_one_repeat_has_no_spread():
    argv = ["--model=m", "--data_dir=d", "--repeats=1"]
    with pytest.raises(InputError) as refused:
        parse(ImportanceCommand, "tfdlrm.importance", argv)
    assert str(refused.value) == "repeats is 1, expected >= 2, for a spread"


def test_the_sample_of_a_split_has_its_columns(data_dir):
    schema = FeatureSchema.load(data_dir)
    batches = read_split(data_dir, schema, "test", 100)
    sample = sample_rows(batches, schema.num_rows("test"), 150, seed=0)
    assert sample.features["dense_features"].shape == (150, 13)
    assert sample.features["categorical_features"].shape == (150, 26)
