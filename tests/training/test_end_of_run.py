"""A run that is killed after its last step, once resumed, ends as others do."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from tests.support.dying import DeadError, die_at
from tests.support.processes import ROOT
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.exporting.scorer import load_scorer
from tfdlrm.exporting.versions import find_export
from tfdlrm.train import train
from tfdlrm.training.run_directory import RunDirectory


@pytest.fixture
def config(small_config, tmp_path):
    """The settings of `exported`, with directories of its own."""
    return replace(
        small_config, run_dir=tmp_path / "run", export_dir=tmp_path / "clicks"
    )


def kill_at(config, name, renamed):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DeadError):
        die_at(patch, name, renamed)
        train(config)


def report_of(config):
    """Return the report without seconds and paths, which differ between runs."""
    text = (config.run_dir / "report.md").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("- model: ")]
    return [line.rpartition(", batch size")[0] or line for line in lines]


def curve_of(config):
    lines = (config.run_dir / "metrics.jsonl").read_text().splitlines()
    return [{**json.loads(line), "seconds": None} for line in lines]


def assert_ended_alike(config, complete_run):
    for name in ("metrics.json", "config.yaml"):
        texts = [
            (settings.run_dir / name).read_text() for settings in (config, complete_run)
        ]
        parents = [str(settings.run_dir.parent) for settings in (config, complete_run)]
        assert texts[0].replace(parents[0], "") == texts[1].replace(parents[1], "")
    assert report_of(config) == report_of(complete_run)
    assert curve_of(config) == curve_of(complete_run)
    names = {path.name for path in config.run_dir.iterdir()}
    assert names == {path.name for path in complete_run.run_dir.iterdir()}
    assert [path.name for path in config.export_dir.iterdir()] == ["1"]


def same_scores(scorer, other_scorer, schema):
    rng = np.random.default_rng(0)
    ids = [rng.integers(0, size, 20) for size in schema.vocabulary_sizes]
    features = {
        "dense_features": rng.random((20, len(schema.dense_features)), np.float32),
        "categorical_features": np.stack(ids, axis=1),
    }
    return np.array_equal(scorer(features), other_scorer(features))


ENDS = [
    ("metrics.json", False),
    ("metrics.json", True),
    ("1", False),
    ("1", True),
    ("summary.json", False),
    ("summary.json", True),
    ("curves.png", False),
    ("reliability.png", False),
    ("reliability.png", True),
    ("scores.png", True),
    ("report.md", False),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "ends",
    [
        [("curves.png", False)],
        pytest.param(ENDS, marks=pytest.mark.slow),
    ],
)
def test_a_kill_behind_the_last_step_leaves_one_version_and_no_remains(
    exported, small_config, config, ends, capsys
):
    for name, renamed in ends:
        kill_at(config, name, renamed)
        assert not (config.run_dir / "report.md").exists()
    assert list(config.run_dir.glob(".*.partial"))  # which the next one removes
    version = train(config)
    assert f"{version} has these weights: they were exported" in capsys.readouterr().out
    assert_ended_alike(config, small_config)
    expected, resumed = load_scorer(exported), load_scorer(version)
    assert same_scores(expected, resumed, expected.schema)


@pytest.mark.slow
def test_a_kill_with_the_report_leaves_a_finished_run_that_says_what_is_there(
    exported, small_config, config
):
    kill_at(config, "report.md", renamed=True)
    assert_ended_alike(config, small_config)
    measures = json.loads((config.run_dir / "metrics.json").read_text())
    test = measures["test"]
    with pytest.raises(InputError) as error_info:
        train(config)
    for part in (
        f"run_dir {config.run_dir} is in use already: its run is finished",
        f"the report {config.run_dir / 'report.md'}",
        f"the model {config.export_dir / '1'}",
        f"test AUC {test['auc']:.4f}, log loss {test['log_loss']:.4f}",
        "give another one to train again",
    ):
        assert part in str(error_info.value)
    assert [path.name for path in config.export_dir.iterdir()] == ["1"]


def test_a_finished_run_of_an_earlier_release_is_told_by_its_report(tmp_path):
    for name in ("config.yaml", "report.md"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"is finished, with the report .*report\.md;"):
        RunDirectory(tmp_path).require_unfinished()


def test_a_version_of_these_weights_counts_only_while_it_is_whole(exported, tmp_path):
    copy = shutil.copytree(exported, tmp_path / "1")
    origin = json.loads((copy / "assets.extra" / "model.json").read_text())["origin"]
    assert find_export(tmp_path, origin) == copy
    assert find_export(tmp_path, {**origin, "step": 1}) is None
    (copy / "assets" / "C1.uint32").write_bytes(b"")
    assert find_export(tmp_path, origin) is None


def test_each_checkpoint_has_another_identity(tmp_path):
    checkpoints = CheckpointDirectory(tmp_path, keep=2)
    assert checkpoints.identity() is None
    identities = set()
    for step in (1, 2):
        checkpoints.write_step(step, {"step": step, "tables": None}, [])
        identities |= {checkpoints.identity(), checkpoints.identity()}
    assert len(identities) == 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_killed_at_any_moment_ends_as_one_that_was_not(
    exported, small_config, config, seed
):
    rng = random.Random(seed)
    command = [
        *(sys.executable, "-m", "tfdlrm.train", "--batch_size", "64"),
        *("--model.embedding_dim", "8", "--model.bottom_mlp_units", "16"),
        *("--model.top_mlp_units", "16", "--evaluations_per_epoch", "1"),
        *("--baselines", "false"),  # as in the run that tests share
        *("--checkpoints.steps", "20", "--data_dir", str(config.data_dir)),
        *("--run_dir", str(config.run_dir), "--export_dir", str(config.export_dir)),
    ]
    last_checkpoint = (
        config.run_dir / "checkpoints" / f"step-{_num_steps(small_config):010d}"
    )
    for _ in range(3):
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )
        while child.poll() is None and not last_checkpoint.exists():
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 3))
        child.send_signal(signal.SIGKILL)
        child.wait()
    if not (config.run_dir / "report.md").exists():
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
    assert report_of(config) == report_of(small_config)
    assert curve_of(config) == curve_of(small_config)
    assert not list(config.run_dir.glob(".*"))
    assert [path.name for path in config.export_dir.iterdir()] == ["1"]


def _num_steps(config):
    lines = (config.run_dir / "metrics.jsonl").read_text().splitlines()
    return json.loads(lines[-1])["step"]
