import json
import os
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdlrm import pieces
from tfdlrm.checkpoints import CheckpointDirectory
from tfdlrm.config import CheckpointConfig, OptimizerConfig, TrainConfig
from tfdlrm.curves import CurveRecorder
from tfdlrm.errors import InputError
from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.models import DLRM
from tfdlrm.run_directory import RunDirectory
from tfdlrm.training import compile_model, fit, make_reproducible

STEPS_PER_EPOCH = 9
BATCH_SIZE = 16


class KilledError(Exception):
    """Raised in the middle of training, in place of a kill."""


def small_model(optimizer="adagrad", steps_per_execution=1):
    model = DLRM(
        embeddings=EmbeddingCollection([50, 20], embedding_dim=4),
        bottom_mlp=MLP([8, 4], final_activation="relu"),
        interaction=DotInteraction(),
        top_mlp=MLP([8, 1], dropout=0.2),
    )
    model.build({"dense_features": (None, 3), "categorical_features": (None, 2)})
    compile_model(model, optimizer_config(optimizer), steps_per_execution)
    return model


def optimizer_config(optimizer):
    """Settings by the name of an optimizer, or as they are."""
    if isinstance(optimizer, OptimizerConfig):
        return optimizer
    return OptimizerConfig(optimizer, 0.05)


def read(epoch, batch):
    rng = np.random.default_rng(epoch)
    num_rows = STEPS_PER_EPOCH * BATCH_SIZE
    dense = rng.random((num_rows, 3), np.float32)
    ids = np.stack([rng.integers(0, 50, num_rows), rng.integers(0, 20, num_rows)], 1)
    label = (rng.random((num_rows, 1)) < 0.3).astype(np.float32)
    rows = ({"dense_features": dense, "categorical_features": ids}, label)
    return tf.data.Dataset.from_tensor_slices(rows).batch(BATCH_SIZE).skip(batch)


def config_for(directory, optimizer="adagrad", epochs=2, **settings):
    return TrainConfig(
        run_dir=directory,
        epochs=epochs,
        optimizer=optimizer_config(optimizer),
        evaluations_per_epoch=2,
        checkpoints=CheckpointConfig(minutes=None, steps=2),
        **settings,
    )


def train(directory, optimizer="adagrad", read=read, data_set="a", **settings):
    """The weights and curves of a run, or of the rest of a killed one."""
    config = config_for(directory, optimizer, **settings)
    make_reproducible(seed=1)
    model = small_model(optimizer, config.steps_per_execution)
    with RunDirectory.opened(config) as run:
        points = fit(model, read, STEPS_PER_EPOCH, read(7, 0), config, run, data_set)
    weights = [weight.numpy() for weight in model.variables + model.optimizer.variables]
    curves = [(point.step, point.split, point.loss, point.auc) for point in points]
    return weights, curves


def killed(directory, at_step, optimizer="adagrad", **settings):
    """Train until the end of a step, whose checkpoint is not written any more."""
    take_a_point = CurveRecorder.on_train_batch_end

    def die(self, batch, logs=None):
        take_a_point(self, batch, logs)
        if self.step >= at_step:
            raise KilledError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(CurveRecorder, "on_train_batch_end", die)
        train(directory, optimizer, **settings)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run: its directory, weights and curves."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    return directory, *train(directory)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was killed in its ninth step, of which the eighth was saved."""
    directory = tmp_path_factory.mktemp("runs") / "stopped"
    killed(directory, at_step=9)
    return directory


@pytest.fixture
def run_dir(stopped, tmp_path):
    # In the place where it was made, since the settings name it.
    copy = tmp_path / "copy"
    shutil.copytree(stopped, copy)
    yield stopped
    shutil.rmtree(stopped)
    shutil.copytree(copy, stopped)


def assert_equal(some, others):
    for ours, theirs in zip(some, others, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def newest(directory):
    return CheckpointDirectory(directory / "checkpoints").newest_first()[0]


def test_a_killed_run_ends_as_an_uninterrupted_one(whole, tmp_path):
    _, weights, curves = whole
    for step in (1, 14):  # before any checkpoint, and in the second epoch
        killed(tmp_path, step)
    resumed_weights, resumed_curves = train(tmp_path)
    assert resumed_curves == curves
    assert_equal(resumed_weights, weights)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [step for step, *_ in curves]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "row_wise_adagrad", "lazy_adam"])
def test_that_holds_for_every_optimizer(tmp_path, optimizer):
    weights, curves = train(tmp_path / "whole", optimizer)
    killed(tmp_path / "killed", 13, optimizer)
    resumed_weights, resumed_curves = train(tmp_path / "killed", optimizer)
    assert resumed_curves == curves
    assert_equal(resumed_weights, weights)


def test_only_so_many_checkpoints_are_kept(whole):
    directory, *_ = whole
    checkpoints = CheckpointDirectory(directory / "checkpoints").newest_first()
    names = [path.name for path in checkpoints]
    assert names == ["step-0000000018", "step-0000000016"]


def test_a_damaged_checkpoint_falls_back_to_the_one_before(run_dir, whole, capsys):
    data = newest(run_dir) / "variables.pieces"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 0xFF
    data.write_bytes(content)
    _, weights, _ = whole
    resumed, _ = train(run_dir)
    assert "step-0000000008 is damaged" in capsys.readouterr().out
    assert_equal(resumed, weights)


def test_checkpoints_that_are_all_damaged_are_refused(run_dir):
    for checkpoint in (run_dir / "checkpoints").iterdir():
        (checkpoint / "state.json").write_text("{")
    with pytest.raises(InputError, match="none of the checkpoints"):
        train(run_dir)


def test_another_data_set_is_refused(run_dir):
    with pytest.raises(InputError, match="another data set"):
        train(run_dir, data_set="b")


def test_tables_of_another_size_are_not_called_damaged(run_dir, capsys):
    directory = CheckpointDirectory(run_dir / "checkpoints")
    with pytest.raises(InputError, match="of a run on another data set"):
        directory.load_weights(keras.Sequential([keras.layers.Input([3])]), "b")
    assert "damaged" not in capsys.readouterr().out


def test_other_settings_are_refused(run_dir):
    other = config_for(run_dir, epochs=3)
    with (
        pytest.raises(InputError, match="epochs: 2 there, epochs: 3 now"),
        RunDirectory.opened(other),
    ):
        pass


def test_a_finished_run_is_refused(run_dir):
    (run_dir / "report.md").touch()
    with pytest.raises(InputError, match="in use already"):
        train(run_dir)


def test_a_directory_is_for_one_process_at_a_time(tmp_path):
    config = config_for(tmp_path)
    with (
        RunDirectory.opened(config),
        pytest.raises(InputError, match="another process"),
        RunDirectory.opened(config),
    ):
        pass


def test_what_blocks_inside_is_not_taken_for_another_process(tmp_path):
    with pytest.raises(BlockingIOError), RunDirectory.opened(config_for(tmp_path)):
        raise BlockingIOError


def test_a_full_disk_costs_a_checkpoint_and_not_the_run(run_dir, monkeypatch, capsys):
    write, refusals = pieces._write, [OSError(28, "No space left on device")]

    def refuse_once(file, payload):
        if refusals and payload.startswith(b'{"pieces"'):
            raise refusals.pop()
        write(file, payload)

    monkeypatch.setattr(pieces, "_write", refuse_once)
    train(run_dir)
    printed = capsys.readouterr().out
    assert "no checkpoint of step 10: [Errno 28] No space left" in printed
    assert newest(run_dir).name == "step-0000000018"


def test_a_write_that_fails_leaves_the_checkpoints_before_it(tmp_path, monkeypatch):
    checkpoints = CheckpointDirectory(tmp_path)
    checkpoints.write_step(1, {"tables": None}, [])
    monkeypatch.setattr(os, "fsync", lambda file: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        checkpoints.write_step(2, {"tables": None}, [])
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000001"]


@pytest.mark.parametrize(
    ("number", "end"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)],
)
def test_a_signal_stops_with_a_checkpoint_of_the_step(run_dir, number, end):
    take_a_point = CurveRecorder.on_train_batch_end

    def interrupt(self, batch, logs=None):
        take_a_point(self, batch, logs)
        if self.step == 11:
            signal.raise_signal(number)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(end):
        patch.setattr(CurveRecorder, "on_train_batch_end", interrupt)
        train(run_dir)
    assert newest(run_dir).name == "step-0000000011"


def test_a_signal_after_the_last_step_stops_too(run_dir, monkeypatch):
    close = CurveRecorder.close

    def interrupt_and_close(self):
        signal.raise_signal(signal.SIGTERM)
        close(self)

    monkeypatch.setattr(CurveRecorder, "close", interrupt_and_close)
    with pytest.raises(SystemExit):
        train(run_dir)
    assert newest(run_dir).name == f"step-{2 * STEPS_PER_EPOCH:010d}"


def test_a_loss_that_is_not_finite_stops_with_the_step_and_its_rows(run_dir):
    def poisoned(epoch, batch):
        def poison(number, row):
            features, label = row
            return features, tf.where(number + batch == 4, np.nan, label)

        return read(epoch, batch).enumerate().map(poison)

    with pytest.raises(InputError, match="the loss became nan at step 14"):
        train(run_dir, read=poisoned)
    features, _ = next(iter(read(1, 4)))
    with np.load(run_dir / "batch-at-step-14.npz") as rows:
        assert np.isnan(rows["label"]).all()
        np.testing.assert_array_equal(
            rows["dense_features"], features["dense_features"]
        )


def test_of_several_steps_in_an_execution_all_rows_are_saved(tmp_path):
    def poisoned(epoch, batch):
        def poison(number, row):
            features, label = row
            return features, tf.where(number + batch == 5, np.nan, label)

        return read(epoch, batch).enumerate().map(poison)

    with pytest.raises(InputError, match="nan in one of the steps 5 to 8"):
        train(tmp_path, read=poisoned, steps_per_execution=4)
    saved = sorted(path.name for path in tmp_path.glob("batch-*"))
    assert saved == [f"batch-at-step-{step}.npz" for step in (5, 6, 7, 8)]
    with np.load(tmp_path / saved[1]) as rows:
        assert np.isnan(rows["label"]).all()


def test_weights_alone_are_read_for_predictions(whole):
    directory, weights, _ = whole
    model = small_model()
    CheckpointDirectory(directory / "checkpoints").load_weights(model)
    assert_equal(
        [each.numpy() for each in model.variables], weights[: len(model.variables)]
    )


def test_weights_of_another_architecture_are_refused(stopped):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(InputError, match="expected a checkpoint of this model"):
        CheckpointDirectory(stopped / "checkpoints").load_weights(model)
