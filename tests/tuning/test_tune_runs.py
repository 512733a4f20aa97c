"""Searches that train, on a data set whose test rows are gone."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.support.processes import ROOT
from tfdlrm.base.command_line import parse
from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig
from tfdlrm.config.tuning import TuneConfig
from tfdlrm.train import train
from tfdlrm.tuning.rows import RowsOfSearch
from tfdlrm.tuning.search import search

SPACE = """
model:
  name: [logistic_regression, fm]
  embedding_dim: [2]
optimizer.learning_rate: [0.1, 3.0e+38]
"""
OPTIONS = "--batch_size 64 --epochs 3 --evaluations_per_epoch 4"


@pytest.fixture(scope="module")
def without_test(data_dir, tmp_path_factory):
    """A copy of a data set without its test rows."""
    copy = tmp_path_factory.mktemp("without_test") / "data"
    shutil.copytree(data_dir, copy)
    shutil.rmtree(copy / "test")
    return copy


def config_for(data_dir, folder, *options):
    space = folder / "space.yaml"
    space.write_text(SPACE)
    argv = f"--data_dir {data_dir} --space {space} --output {folder}/tuned {OPTIONS}"
    return parse(TuneConfig, "tfdlrm.tune", [*argv.split(), *options])


def rows_of(folder):
    with (folder / "tuned" / "trials.csv").open() as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def test_a_search_sees_no_test_rows(without_test, tmp_path):
    rows = RowsOfSearch.open(config_for(without_test, tmp_path))
    assert rows.whole_schema.num_rows("test") > 0
    assert rows.schema.held_out_splits == ["validation"]
    assert rows.schema.num_rows("train") == rows.whole_schema.num_rows("train")
    (without_test / rows.schema.shards[0].path).rename(tmp_path / "moved")
    with pytest.raises(InputError, match=re.escape(rows.schema.shards[0].path)):
        RowsOfSearch.open(config_for(without_test, tmp_path))
    (tmp_path / "moved").rename(without_test / rows.schema.shards[0].path)


@pytest.mark.slow
def test_a_trial_is_the_run_that_the_best_settings_train(
    data_dir, without_test, tmp_path
):
    options = ("--trials", "3", "--early_stopping", "1", "--seed", "2")
    best = search(config_for(without_test, tmp_path, *options))
    rows = rows_of(tmp_path)
    assert {row["state"] for row in rows} == {"complete", "failed"}
    for row in rows:
        is_fm = row["model.name"] == "fm"
        assert row["model.embedding_dim"] == ("2" if is_fm else "")
        if row["state"] == "failed":
            assert float(row["optimizer.learning_rate"]) > 1
            assert re.match(r"the (loss became|log_loss of)", row["reason"])
    for number in range(len(rows)):
        directory = tmp_path / "tuned" / "trials" / str(number)
        names = {path.name for path in directory.iterdir()}
        assert names <= {"config.yaml", "metrics.jsonl", "log.txt"}  # no weights
    # The test rows are back where training measures them.
    argv = ["--config", f"{tmp_path}/tuned/best.yaml", "--data_dir", str(data_dir)]
    folder = tmp_path / "trained"
    argv += ["--run_dir", str(folder), "--export_dir", str(tmp_path / "models")]
    train(parse(TrainConfig, "tfdlrm.train", argv))
    curve = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    validation = [point for point in curve if point["split"] == "validation"]
    kept = min(validation, key=lambda point: point["loss"])
    assert (kept["loss"], kept["auc"]) == (best.outcome.log_loss, best.outcome.auc)
    assert kept["step"] == best.outcome.step
    assert list(best.curve.values()) == [point["loss"] for point in validation]


def start(folder, data_dir, trials):
    options = f"--data_dir {data_dir} --space {folder}/space.yaml --trials {trials} \
        --output {folder}/tuned {OPTIONS} --checkpoints.steps 20"
    return subprocess.Popen(
        [sys.executable, "-m", "tfdlrm.tune", *options.split()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(is_so):
    deadline = time.monotonic() + 300
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_search_goes_on_in_the_midst_of_a_trial(without_test, tmp_path, how):
    whole = tmp_path / "whole"
    whole.mkdir()
    (tmp_path / "space.yaml").write_text(SPACE.replace(", 3.0e+38", ", 0.2"))
    shutil.copy(tmp_path / "space.yaml", whole)
    with start(whole, without_test, 2) as process:
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    run = tmp_path / "tuned" / "trials" / "1" / "run"
    with start(tmp_path, without_test, 2) as process:
        wait_until(lambda: list(run.glob("checkpoints/step-*")))
        process.send_signal(how)
        output, errors = process.communicate()
    statuses = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}
    assert process.returncode == statuses[how]
    if how != signal.SIGKILL:
        assert "stopped in trial 1: the same command goes on with it" in output
    with start(tmp_path, without_test, 2) as process:
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "1 of 2 trials are done" in output
    log = (tmp_path / "tuned" / "trials" / "1" / "log.txt").read_text()
    assert "Going on after step" in log
    assert rows_of(tmp_path) == rows_of(whole)


@pytest.mark.slow
def test_processes_with_the_same_command_share_its_trials(without_test, tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    with (
        start(tmp_path, without_test, 5) as first,
        start(tmp_path, without_test, 5) as second,
    ):
        outputs = [process.communicate() for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), outputs
    lines = [
        re.findall(r"^ +(\d) ", output.partition("Best of")[0], re.MULTILINE)
        for output, _ in outputs
    ]
    assert sorted(lines[0] + lines[1]) == list("01234")
    assert [row["trial"] for row in rows_of(tmp_path)] == list("01234")
