import json
import os
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.small_runs import (
    STEPS_PER_EPOCH,
    assert_equal,
    newest,
    read,
    small_model,
    train,
    train_until_killed,
)
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints import entries as pieces
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.training.curves import CurveRecorder


@pytest.fixture(scope="module")
def complete_run(tmp_path_factory):
    """An uninterrupted run: its directory, weights and curves."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    return directory, *train(directory)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was killed in its ninth step, of which the eighth was saved."""
    directory = tmp_path_factory.mktemp("runs") / "stopped"
    train_until_killed(directory, at_step=9)
    return directory


@pytest.fixture
def run_dir(stopped, tmp_path):
    # At its original path, which the settings name.
    copy = tmp_path / "copy"
    shutil.copytree(stopped, copy)
    yield stopped
    shutil.rmtree(stopped)
    shutil.copytree(copy, stopped)


def restored(run_dir):
    """The step of a run, and the variables that training would go on with."""
    model = small_model()
    state = CheckpointDirectory(run_dir / "checkpoints").restore(SavedVariables(model))
    variables = model.variables + model.optimizer.variables
    return state["step"], [variable.numpy() for variable in variables]


def test_a_killed_run_ends_as_an_uninterrupted_one(complete_run, tmp_path):
    _, weights, curves = complete_run
    for step in (1, 14):  # before any checkpoint, and in the second epoch
        train_until_killed(tmp_path, step)
    resumed_weights, resumed_curves = train(tmp_path)
    assert resumed_curves == curves
    assert_equal(resumed_weights, weights)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [step for step, *_ in curves]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "row_wise_adagrad", "lazy_adam"])
def test_that_holds_for_every_optimizer(tmp_path, optimizer):
    weights, curves = train(tmp_path / "whole", optimizer)
    train_until_killed(tmp_path / "killed", 13, optimizer)
    resumed_weights, resumed_curves = train(tmp_path / "killed", optimizer)
    assert resumed_curves == curves
    assert_equal(resumed_weights, weights)


def test_only_so_many_checkpoints_are_kept(complete_run):
    directory, *_ = complete_run
    checkpoints = CheckpointDirectory(directory / "checkpoints").newest_first()
    names = [path.name for path in checkpoints]
    assert names == ["step-0000000018", "step-0000000016"]


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    run_dir, complete_run, capsys
):
    data = newest(run_dir) / "variables.pieces"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 0xFF
    data.write_bytes(content)
    _, weights, _ = complete_run
    resumed, _ = train(run_dir)
    assert "step-0000000008 is damaged" in capsys.readouterr().out
    assert_equal(resumed, weights)


def test_a_checkpoint_is_put_aside_even_where_one_was_before(run_dir, complete_run):
    path = newest(run_dir)
    shutil.copytree(path, path.with_name(f"damaged-{path.name}"))
    (path / "state.json").write_text("{")
    resumed, _ = train(run_dir)
    assert_equal(resumed, complete_run[1])


def test_one_bit_of_the_state_falls_back_to_the_checkpoint_before(
    run_dir, complete_run, capsys
):
    path = newest(run_dir) / "state.json"
    state = path.read_text()
    assert '"step": 8, "seconds"' in state
    path.write_text(state.replace('"step": 8, "seconds"', '"step": 9, "seconds"'))
    resumed, curves = train(run_dir)
    output = capsys.readouterr().out
    assert "step-0000000008 is damaged (its SHA-256 is" in output
    assert "Going on after step 6" in output
    assert curves == complete_run[2]
    assert_equal(resumed, complete_run[1])


@pytest.mark.parametrize("name", ["state.json", "variables.pieces"])
def test_a_file_of_another_checkpoint_counts_as_damage(
    run_dir, complete_run, capsys, name
):
    newest_path, older_path = CheckpointDirectory(
        run_dir / "checkpoints"
    ).newest_first()
    shutil.copy(older_path / name, newest_path / name)
    resumed, curves = train(run_dir)
    output = capsys.readouterr().out
    assert f"is damaged ({name} is that of step-0000000006)" in output
    assert curves == complete_run[2]
    assert_equal(resumed, complete_run[1])


def test_a_damaged_state_does_not_cost_the_tables_of_others(tmp_path):
    checkpoints = CheckpointDirectory(tmp_path, keep=2)
    for step in (1, 2):
        tables = checkpoints.write_tables(step, [])
        checkpoints.write_step(step, {"shapes": {}, "tables": tables}, [])
    path = tmp_path / "step-0000000002" / "state.json"
    path.write_text(path.read_text().replace("tables-0000000002", "tables-0000000001"))
    checkpoints.write_step(3, {"shapes": {}, "tables": "tables-0000000002"}, [])
    assert {tables_path.name for tables_path in tmp_path.glob("tables-*")} >= {
        "tables-0000000002"
    }


def test_a_checkpoint_of_an_earlier_release_has_no_checksum_and_is_read(
    run_dir, complete_run
):
    for path in (run_dir / "checkpoints").glob("step-*/state.json"):
        state = json.loads(path.read_text())
        del state["sha256"]
        path.write_text(json.dumps(state))
    resumed, _ = train(run_dir)
    assert_equal(resumed, complete_run[1])


@pytest.mark.parametrize("text", ["[]", "3", '{"shapes": []}', '{"shapes": {}}', ""])
def test_a_state_that_is_none_counts_as_damaged(run_dir, tmp_path, text):
    (newest(run_dir) / "state.json").write_text(text)
    older = tmp_path / "older" / "checkpoints"
    shutil.copytree(run_dir / "checkpoints", older)
    shutil.rmtree(newest(older.parent))
    (step, values), (older_step, older_values) = map(restored, (run_dir, older.parent))
    assert step == older_step == 6
    assert_equal(values, older_values)


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


def test_a_full_disk_costs_a_checkpoint_and_not_the_run(run_dir, monkeypatch, capsys):
    write, refusals = pieces._write, [OSError(28, "No space left on device")]

    def refuse_once(file, payload):
        if refusals and payload.startswith(b'{"pieces"'):
            raise refusals.pop()
        write(file, payload)

    monkeypatch.setattr(pieces, "_write", refuse_once)
    train(run_dir)
    output = capsys.readouterr().out
    assert "no checkpoint of step 10: [Errno 28] No space left" in output
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


def test_weights_alone_are_read_for_predictions(complete_run):
    directory, weights, _ = complete_run
    model = small_model()
    CheckpointDirectory(directory / "checkpoints").load_weights(model)
    assert_equal(
        [variable.numpy() for variable in model.variables],
        weights[: len(model.variables)],
    )


def test_weights_of_another_architecture_are_refused(stopped):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(InputError, match="expected those of this model"):
        CheckpointDirectory(stopped / "checkpoints").load_weights(model)


def test_weights_of_a_damaged_checkpoint_are_those_of_the_one_before(
    complete_run, tmp_path
):
    shutil.copytree(complete_run[0] / "checkpoints", tmp_path / "checkpoints")
    checkpoints = CheckpointDirectory(tmp_path / "checkpoints")
    (newest(tmp_path) / "state.json").write_text("{")
    model, expected = small_model(), small_model()
    checkpoints.load_weights(model)
    shutil.rmtree(newest(tmp_path))
    checkpoints.load_weights(expected)
    assert_equal(model.get_weights(), expected.get_weights())


def test_a_run_that_replaces_its_checkpoints_meanwhile_is_read(
    complete_run, monkeypatch, capsys
):
    checkpoints = CheckpointDirectory(complete_run[0] / "checkpoints")
    removed = [checkpoints.path / "step-0000000001"]
    listings = iter([removed, checkpoints.newest_first()])
    monkeypatch.setattr(checkpoints, "newest_first", lambda: next(listings))
    model = small_model()
    checkpoints.load_weights(model)
    weights = [variable.numpy() for variable in model.variables]
    assert_equal(weights, complete_run[1][: len(weights)])
    assert "damaged" not in capsys.readouterr().out


def test_the_newest_step_counts_checkpoints_that_are_damaged(tmp_path):
    checkpoints = CheckpointDirectory(tmp_path / "checkpoints")
    assert checkpoints.newest_step() is None
    checkpoints.write_step(3, {"tables": None}, [])
    (checkpoints.path / "damaged-step-0000000012").mkdir()
    (checkpoints.path / "tables-0000000020").mkdir()
    assert checkpoints.newest_step() == 12
