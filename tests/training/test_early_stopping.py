import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.small_models import schema
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.config import (
    CheckpointConfig,
    EarlyStoppingConfig,
    OptimizerConfig,
    PrepareConfig,
    TrainConfig,
)
from tfdlrm.config.models import DLRMConfig
from tfdlrm.data.reading import without_tuning
from tfdlrm.export import ExportCommand, export
from tfdlrm.exporting.scorer import load_scorer
from tfdlrm.metrics.splits import evaluate
from tfdlrm.models import build_model
from tfdlrm.train import train
from tfdlrm.training.best_weights import load_best_weights, load_kept_weights
from tfdlrm.training.compiling import compile_model
from tfdlrm.training.curves import CurvePoint, CurveRecorder
from tfdlrm.training.early_stopping import has_stopped, kept_step
from tfdlrm.training.fit import fit, make_reproducible
from tfdlrm.training.run_directory import RunDirectory

STEPS_PER_EPOCH = 4
MODEL = DLRMConfig(embedding_dim=4, bottom_mlp_units=(8,), top_mlp_units=(16,))


def read(epoch, batch):
    """Return rows with random labels: training makes the loss on others worse."""
    rng = np.random.default_rng(epoch % 2)
    dense = rng.random((32, 3), np.float32)
    ids = rng.integers(0, 4, (32, 3))
    label = (rng.random((32, 1)) < 0.5).astype(np.float32)
    rows = ({"dense_features": dense, "categorical_features": ids}, label)
    batches = tf.data.Dataset.from_tensor_slices(rows).batch(8).skip(batch)
    return batches.with_options(without_tuning())


def train_or_resume(run_dir, patience=3):
    """Train or resume, and return the model and the validation losses."""
    config = TrainConfig(
        run_dir=run_dir,
        epochs=50,
        optimizer=OptimizerConfig("adagrad", 0.1),
        evaluations_per_epoch=2,
        early_stopping=patience,
        checkpoints=CheckpointConfig(minutes=None, steps=3),
    )
    make_reproducible(seed=1)
    model = build_model(schema(), MODEL)
    compile_model(model, config.optimizer)
    with RunDirectory.opened(config) as run:
        points = fit(model, read, STEPS_PER_EPOCH, read(99, 0), config, run, "rows")
    losses = [point.loss for point in points if point.split == "validation"]
    return model, losses


def log_loss(model):
    return evaluate(lambda features: tf.sigmoid(model(features)), read(99, 0)).log_loss


def test_training_ends_after_the_best_point_and_keeps_its_weights(tmp_path):
    model, losses = train_or_resume(tmp_path / "run")
    assert len(losses) == np.argmin(losses) + 1 + 3 < 100
    assert log_loss(model) == pytest.approx(min(losses), rel=1e-6)


@pytest.mark.slow
def test_a_killed_run_ends_where_it_would_have(tmp_path, monkeypatch):
    class KilledError(Exception):
        pass

    model, losses = train_or_resume(tmp_path / "whole")
    take_a_point = CurveRecorder.on_train_batch_end
    last_step = len(losses) * STEPS_PER_EPOCH // 2

    def die(self, batch, logs=None):
        take_a_point(self, batch, logs)
        if self.step == last_step:  # the best point is past, and in no checkpoint
            raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(CurveRecorder, "on_train_batch_end", die)
        train_or_resume(tmp_path / "killed")
    assert CheckpointDirectory(tmp_path / "killed" / "checkpoints").newest_first()
    for _ in range(2):  # and again where it was killed before its report
        again, losses_again = train_or_resume(tmp_path / "killed")
        assert losses_again == losses
        for resumed_variable, variable in zip(
            again.variables, model.variables, strict=True
        ):
            np.testing.assert_array_equal(resumed_variable, variable)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The directory of a run that ended early, without its report."""
    directory = tmp_path_factory.mktemp("runs") / "ended"
    train_or_resume(directory, patience=2)
    return directory


@pytest.fixture
def run_dir(ended, tmp_path):
    # At its original path, which the settings name.
    copy = shutil.copytree(ended, tmp_path / "copy")
    yield ended
    shutil.rmtree(ended)
    shutil.copytree(copy, ended)


def load(run_dir):
    model = build_model(schema(), MODEL)
    load_best_weights(model, RunDirectory(run_dir))
    return model.get_weights()


def test_one_bit_of_the_best_weights_is_noticed(run_dir):
    path = run_dir / "best.weights.h5"
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for bit in rng.integers(8 * (len(good) - 100), size=20):
        contents = bytearray(good)
        contents[bit // 8] ^= 1 << bit % 8
        path.write_bytes(contents)
        with pytest.raises(InputError, match=r"best\.weights\.h5 is damaged: its SHA"):
            load(run_dir)


def test_a_run_does_not_go_on_with_damaged_best_weights(run_dir):
    path = run_dir / "best.weights.h5"
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 4
    path.write_bytes(contents)
    with pytest.raises(InputError, match=r"best\.weights\.h5 is damaged"):
        train_or_resume(run_dir, patience=2)
    path.unlink()
    with pytest.raises(InputError, match=r"best\.weights\.h5 is missing"):
        train_or_resume(run_dir, patience=2)


@pytest.mark.parametrize("contents", [b"", b"no weights", bytes(5000)])
def test_a_file_that_holds_no_weights_is_refused(run_dir, contents, capsys):
    (run_dir / "best.weights.h5").write_bytes(contents)
    with pytest.raises(InputError, match=r"cannot be read .*expected the best"):
        load(run_dir)
    assert "holds no checksum" in capsys.readouterr().out


def test_best_weights_of_an_earlier_release_are_taken_with_a_line(run_dir, capsys):
    path, weights = run_dir / "best.weights.h5", load(run_dir)
    assert capsys.readouterr().out == ""
    path.write_bytes(path.read_bytes()[:-73])  # as Keras wrote it
    for loaded_weight, weight in zip(load(run_dir), weights, strict=True):
        np.testing.assert_array_equal(loaded_weight, weight)
    assert capsys.readouterr().out.count("cannot be checked for damage") == 1


def test_keras_reads_the_best_weights(run_dir):
    model = build_model(schema(), MODEL)
    model.load_weights(run_dir / "best.weights.h5")
    for weight, loaded_weight in zip(model.get_weights(), load(run_dir), strict=True):
        np.testing.assert_array_equal(loaded_weight, weight)


def test_best_weights_that_are_lost_are_not_replaced_by_the_last_ones(run_dir):
    (run_dir / "best.weights.h5").unlink()
    model, run = build_model(schema(), MODEL), RunDirectory(run_dir)
    state = {"points": [{"split": "validation"}]}
    with pytest.raises(InputError, match="is missing, expected the weights"):
        load_kept_weights(model, run, True, state)
    load_kept_weights(model, run, True, {"points": []})  # no best point yet
    load_kept_weights(model, run, False, state)


@pytest.mark.slow
def test_a_full_disk_stops_it_and_it_goes_on_when_there_is_room(tmp_path, monkeypatch):
    _, losses = train_or_resume(tmp_path / "whole")
    save, times = keras.Model.save_weights, iter(range(100))

    def refuse_the_third(self, path):
        save(self, path)
        if next(times) == 2:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(InputError, match="make room"):
        patch.setattr(keras.Model, "save_weights", refuse_the_third)
        train_or_resume(tmp_path / "run")
    assert not list((tmp_path / "run").glob(".*.partial*"))
    model, losses_again = train_or_resume(tmp_path / "run")
    assert losses_again == losses
    assert log_loss(model) == pytest.approx(min(losses), rel=1e-6)


@pytest.mark.slow
def test_what_is_exported_has_the_best_weights(data_dir, tmp_path):
    run_dir = tmp_path / "run"
    config = TrainConfig(
        data_dir,
        model=MODEL,
        optimizer=OptimizerConfig("adagrad", 0.3),
        epochs=20,
        evaluations_per_epoch=2,
        early_stopping=2,
        run_dir=run_dir,
        export_dir=tmp_path / "model",
    )
    exported = train(config)
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    points = [json.loads(line) for line in lines]
    losses = [point["loss"] for point in points if point["split"] == "validation"]
    assert len(losses) < 40
    measures = json.loads((run_dir / "metrics.json").read_text())
    assert measures["validation"]["log_loss"] == pytest.approx(min(losses), rel=1e-6)
    again = export(ExportCommand(run_dir, tmp_path / "model"))
    features, _ = next(iter(read(0, 0)))
    features["categorical_features"] = tf.zeros((8, 26), tf.int64)
    features["dense_features"] = tf.random.uniform((8, 13))
    np.testing.assert_array_equal(
        load_scorer(again)(features), load_scorer(exported)(features)
    )


def points_of(*values):
    """Return training and validation points of losses and AUCs, ten steps apart."""
    return [
        CurvePoint(10 * number, split, loss, 0.5, auc, 1.0)
        for number, (loss, auc) in enumerate(values, 1)
        for split in ("train", "validation")
    ]


@pytest.mark.parametrize(
    ("metric", "best", "num_points"),
    [("log_loss", 10, 3), ("auc", 30, 5)],
)
def test_the_metric_decides_which_step_is_kept_and_when_it_ends(
    metric, best, num_points
):
    values = [(0.3, 0.7), (0.5, 0.6), (0.6, 0.9), (0.7, 0.9), (0.8, 0.8)]
    stopping = EarlyStoppingConfig(patience=2, metric=metric)
    points = points_of(*values)
    assert kept_step(points, stopping) == best
    ends = [has_stopped(points_of(*values[:n]), stopping) for n in range(1, 6)]
    assert ends.index(True) + 1 == num_points


def test_without_early_stopping_or_validation_rows_the_last_step_is_kept():
    points = points_of((0.3, 0.7), (0.5, 0.6))
    assert kept_step(points, None) == 20
    assert kept_step(points[:1], EarlyStoppingConfig(1)) == 10
    assert kept_step([], EarlyStoppingConfig(1)) is None


@pytest.mark.slow
def test_the_weights_of_the_highest_auc_are_kept(tmp_path, capsys):
    stopping = EarlyStoppingConfig(patience=3, metric="auc")
    model, losses = train_or_resume(tmp_path / "run", stopping)
    points = RunDirectory(tmp_path / "run").load_curves()
    aucs = [point["auc"] for point in points if point["split"] == "validation"]
    measured = evaluate(lambda features: tf.sigmoid(model(features)), read(99, 0))
    assert measured.auc == max(aucs)
    assert len(aucs) == np.argmax(aucs) + 1 + 3
    assert np.argmax(aucs) != np.argmin(losses)
    assert "of the highest validation AUC, 0." in capsys.readouterr().out


def test_an_undefined_auc_decides_nothing(tmp_path):
    def ones(epoch, batch):
        return read(epoch, batch).map(lambda rows, label: (rows, 0 * label + 1))

    config = TrainConfig(
        run_dir=tmp_path / "run", early_stopping=EarlyStoppingConfig(1, "auc")
    )
    model = build_model(schema(), MODEL)
    compile_model(model, config.optimizer)
    message = "early_stopping.metric is auc, but all validation rows .* the label 1: "
    with RunDirectory.opened(config) as run, pytest.raises(InputError, match=message):
        fit(model, read, STEPS_PER_EPOCH, ones(99, 0), config, run, "rows")


def test_it_needs_validation_rows(raw_file, tmp_path):
    from pipelines.prepare import prepare

    prepare([raw_file], tmp_path / "data", PrepareConfig(validation_days=0))
    config = TrainConfig(tmp_path / "data", early_stopping=1, run_dir=tmp_path / "run")
    with pytest.raises(InputError, match="has no validation rows"):
        train(config)
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="early_stopping is 0"):
        replace(config, early_stopping=0)
