"""The steps and epochs that a run says it did, and the weights that it keeps."""

import re
from collections import Counter

import keras
import numpy as np
import pytest

from tests.support.small_runs import (
    STEPS_PER_EPOCH,
    config_for,
    newest,
    read,
    small_model,
    train,
    train_until_killed,
)
from tfdlrm.checkpoints.step import state_of
from tfdlrm.training.curves import CurvePoint
from tfdlrm.training.fit import fit
from tfdlrm.training.progress import Progress
from tfdlrm.training.run_directory import RunDirectory


def epoch_lines(printed):
    return re.findall(r"Epoch \d+/\d+|\d+/\d+ - ", printed)


def test_epochs_count_up_to_those_of_the_run(tmp_path, capsys):
    train(tmp_path / "run", epochs=3)
    lines = epoch_lines(capsys.readouterr().out)
    assert lines == [
        "Epoch 1/3",
        "9/9 - ",
        "Epoch 2/3",
        "9/9 - ",
        "Epoch 3/3",
        "9/9 - ",
    ]


@pytest.mark.slow
def test_a_resumed_run_goes_on_counting(tmp_path, capsys):
    train_until_killed(tmp_path / "run", at_step=STEPS_PER_EPOCH + 5, epochs=3)
    capsys.readouterr()
    train(tmp_path / "run", epochs=3)
    printed = capsys.readouterr().out
    assert "Going on after step 12 of" in printed
    assert epoch_lines(printed) == ["Epoch 2/3", "6/6 - ", "Epoch 3/3", "9/9 - "]


class StopAfter(keras.callbacks.Callback):
    """Ends training after some batches of an epoch."""

    def __init__(self, num_batches):
        super().__init__()
        self.num_batches = num_batches

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.num_batches:
            self.model.stop_training = True


def stopped_run(directory, num_batches, **settings):
    """Train until a callback stops the first epoch; return points and progress."""
    config = config_for(directory, epochs=2, **settings)
    with RunDirectory.opened(config) as run:
        points = fit(
            small_model(),
            read,
            STEPS_PER_EPOCH,
            read(7, 0),
            config,
            run,
            "a",
            callbacks=[StopAfter(num_batches)],
        )
    num_rows = STEPS_PER_EPOCH * config.batch_size
    return points, Progress.of(config, num_rows, points, state_of(newest(directory)))


def test_an_epoch_that_a_callback_ends_has_its_last_step(tmp_path, capsys):
    points, progress = stopped_run(tmp_path / "run", 7)
    assert epoch_lines(capsys.readouterr().out) == ["Epoch 1/2", "7/7 - "]
    steps = Counter(point.step for point in points)
    assert steps == {5: 2, 7: 2}  # for training and validation rows
    assert progress.ending_in_words == "7 of 18 steps, ended by a callback"
    assert progress.epochs_in_words == "0.77 of 2 epochs"
    assert progress.weights_in_words == (
        "of step 7, the last, unless a callback put back others"
    )


def test_early_stopping_sees_the_last_step_of_a_callback(tmp_path):
    points, progress = stopped_run(tmp_path / "run", 7, early_stopping=5)
    losses = {point.step: point.loss for point in points if point.split == "validation"}
    assert progress.kept_step == min(losses, key=losses.get)
    assert losses.keys() == {5, 7}


def points_of(*losses):
    """Return a curve with a point every 10 steps."""
    return [
        CurvePoint(10 * number, split, loss, 0.5, 0.5, 1.0)
        for number, loss in enumerate(losses, start=1)
        for split in ("train", "validation")
    ]


@pytest.mark.parametrize(
    ("patience", "losses", "epochs", "ending", "weights"),
    [
        (None, [3, 2, 4], "3 epochs", "30 steps", "of step 30, the last"),
        (9, [3, 2, 4], "3 epochs", "30 steps", "of step 20, of the lowest"),
        (
            1,
            [2, 3],
            "2 of 3 epochs",
            "20 of 30 steps, ended by early",
            "of step 10, of",
        ),
    ],
)
def test_words_say_what_was_done(tmp_path, patience, losses, epochs, ending, weights):
    config = config_for(tmp_path, epochs=3, batch_size=64, early_stopping=patience)
    points = points_of(*losses)
    progress = Progress.of(config, 640, points, {"step": points[-1].step})
    assert progress.epochs_in_words == epochs
    assert progress.ending_in_words.startswith(ending)
    assert progress.weights_in_words.startswith(weights)
    assert progress.to_json()["epochs"] == pytest.approx(len(losses))


def test_a_run_that_was_killed_was_ended_by_nothing(tmp_path):
    config = config_for(tmp_path, epochs=3, batch_size=64, early_stopping=2)
    progress = Progress.of(config, 640, points_of(3, 2, 4), {"step": 20})
    assert progress.to_json() == {
        "steps": 20,
        "epochs": 2.0,
        "ended_by": None,
        "kept_step": 20,
        "kept_by": "log_loss",
    }
    assert progress.ending_in_words == "20 steps"


def test_points_of_one_label_have_no_auc(tmp_path, capsys):
    def ones(epoch, batch):
        batches = read(epoch, batch)
        return batches.map(lambda features, label: (features, 0 * label))

    _, curves = train(tmp_path / "run", read=ones)
    assert len(curves) == 8
    assert all(np.isnan(auc) for *_, auc in curves)
    run = RunDirectory(tmp_path / "run")
    assert {point["auc"] for point in run.load_curves()} == {None}
    printed = capsys.readouterr().out
    assert "accuracy: " in printed
    assert "auc" not in printed
    # A resumed run reads them again.
    points = [CurvePoint.from_json(point) for point in run.load_curves()]
    assert all(np.isnan(point.auc) for point in points)


@pytest.mark.slow
def test_a_killed_run_of_one_label_goes_on(tmp_path):
    def ones(epoch, batch):
        return read(epoch, batch).map(lambda features, label: (features, 0 * label))

    expected = train(tmp_path / "whole", read=ones)[1]
    train_until_killed(tmp_path / "killed", at_step=13, read=ones)
    np.testing.assert_equal(train(tmp_path / "killed", read=ones)[1], expected)
