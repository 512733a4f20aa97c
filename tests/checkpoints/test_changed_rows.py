"""Checkpoints of large tables: written in pieces, and then only the changed rows."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.support.processes import ROOT
from tests.support.small_runs import (
    assert_equal,
    newest,
    small_model,
    train,
    train_until_killed,
)
from tfdlrm.checkpoints import variable as stored_variable
from tfdlrm.checkpoints import writer as checkpoint_writer
from tfdlrm.checkpoints.directory import PIECES_FILE, CheckpointDirectory
from tfdlrm.checkpoints.entries import DamagedError, Piece, read_pieces, write_pieces
from tfdlrm.checkpoints.variables import SavedVariables

OPTIMIZERS = [
    "adagrad",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("sgd", "row_wise_adagrad", "lazy_adam")
    ),
]


@pytest.fixture
def large(monkeypatch):
    """Treat the tables of the small model, of 1,120 bytes and more, as large."""
    monkeypatch.setattr(checkpoint_writer, "MAX_COPY_BYTES", 1_000)
    monkeypatch.setattr(stored_variable, "PIECE_BYTES", 64)


@pytest.fixture
def slow_disk(monkeypatch):
    """Let training continue for a while between two pieces of a table."""
    table_pieces = SavedVariables.table_pieces

    def slowly(self):
        for piece in table_pieces(self):
            time.sleep(0.005)
            yield piece

    monkeypatch.setattr(SavedVariables, "table_pieces", slowly)


def tables_of(checkpoint):
    return json.loads((checkpoint / "state.json").read_text())["tables"]


@pytest.mark.usefixtures("large", "slow_disk")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_tables_written_while_rows_change_are_those_of_one_step(tmp_path, optimizer):
    weights, _ = train(tmp_path, optimizer)
    checkpoint = newest(tmp_path)
    assert checkpoint.name == "step-0000000018"
    tables = tables_of(checkpoint)
    assert int(tables.removeprefix("tables-")) < 18
    model = small_model(optimizer)
    CheckpointDirectory(tmp_path / "checkpoints").restore(SavedVariables(model))
    restored = model.variables + model.optimizer.variables
    assert_equal([variable.numpy() for variable in restored], weights)


@pytest.mark.slow
@pytest.mark.usefixtures("large", "slow_disk")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_killed_run_with_large_tables_ends_as_an_uninterrupted_one(
    tmp_path, optimizer
):
    weights, curves = train(tmp_path / "whole", optimizer)
    for step in (12, 15):
        train_until_killed(tmp_path / "killed", step, optimizer)
    resumed_weights, resumed_curves = train(tmp_path / "killed", optimizer)
    assert resumed_curves == curves
    assert_equal(resumed_weights, weights)


@pytest.mark.usefixtures("large")
def test_a_checkpoint_holds_the_rows_that_changed_since_the_tables(tmp_path):
    model = small_model()
    variables = SavedVariables(model)
    variables.watch_tables()
    (table,) = model.embeddings.tables
    ids = np.array([[3, 1], [3, 1]])
    model.train_on_batch(
        {"dense_features": np.ones((2, 3)), "categorical_features": ids},
        np.ones((2, 1)),
    )
    pieces = [piece for piece in variables.changed_pieces() if piece.rows is not None]
    names = {piece.name for piece in pieces}
    assert len(names) == 2  # the table and its accumulators
    for name in names:
        rows = [piece.rows for piece in pieces if piece.name == name]
        assert np.concatenate(rows).tolist() == [3, 51]
    assert np.concatenate([p.values for p in pieces])[:2].tolist() == (
        table.numpy()[[3, 51]].tolist()
    )
    variables.forget_changes()
    assert variables.changed_bytes() == 0


@pytest.mark.slow
@pytest.mark.usefixtures("large")
def test_damaged_tables_fall_back_to_the_ones_before(tmp_path, capsys):
    weights, _ = train(tmp_path / "whole")
    run = tmp_path / "run"
    train_until_killed(run, 15)
    data = run / "checkpoints" / tables_of(newest(run)) / PIECES_FILE
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 0xFF
    data.write_bytes(content)
    resumed, _ = train(run)
    assert "is damaged" in capsys.readouterr().out
    assert_equal(resumed, weights)
    assert list((run / "checkpoints").glob("damaged-step-*"))


@pytest.mark.usefixtures("large")
def test_no_more_is_kept_than_the_checkpoints_need(tmp_path):
    train(tmp_path)
    directory = tmp_path / "checkpoints"
    checkpoints = CheckpointDirectory(directory).newest_first()
    needed = {tables_of(path) for path in checkpoints} - {None}
    assert {path.name for path in directory.glob("tables-*")} == needed
    assert len(checkpoints) in (2, 3)
    assert not list(directory.glob(".*"))


@pytest.mark.parametrize("cut", [1, 40, 10**9])
def test_a_file_that_was_cut_short_or_is_not_there_is_noticed(tmp_path, cut):
    path = tmp_path / "file"
    write_pieces(path, [Piece("a", np.arange(3)), Piece("b", np.ones(2))])
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DamagedError):
        list(read_pieces(path))


_CHILD = """
import sys, time
from pathlib import Path
from tests.checkpoints import test_checkpoints as t
from tfdlrm.checkpoints import variable as stored_variable
from tfdlrm.checkpoints import writer as checkpoint_writer
from tfdlrm.training.curves import CurveRecorder
checkpoint_writer.MAX_COPY_BYTES = 1_000
stored_variable.PIECE_BYTES = 64
take = CurveRecorder.on_train_batch_end
def slower(self, batch, logs=None):
    take(self, batch, logs)
    print(self.step, flush=True)
    time.sleep(0.02)
CurveRecorder.on_train_batch_end = slower
weights, curves = t.train(Path(sys.argv[1]))
import numpy as np
np.savez(sys.argv[2], *weights)
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_process_killed_at_random_moments_ends_with_the_same_bits(tmp_path, seed):
    run, result = tmp_path / "run", tmp_path / "weights.npz"
    rng = np.random.default_rng(seed)
    command = [sys.executable, "-c", _CHILD, str(run), str(result)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(4):
        child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        steps_of_this = int(rng.integers(2, 9))
        for _ in range(steps_of_this):
            child.stdout.readline()
        time.sleep(rng.uniform(0, 0.03))
        child.send_signal(signal.SIGKILL)
        child.wait()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    weights, curves = train(tmp_path / "whole")
    with np.load(result) as arrays:
        assert_equal([arrays[name] for name in arrays.files], weights)
    assert (run / "metrics.jsonl").read_text().count("\n") == len(curves)
    assert not list((run / "checkpoints").glob(".*"))
