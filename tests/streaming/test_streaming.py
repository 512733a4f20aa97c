"""Learning from a stream: its measures over time, and a Kafka broker."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from pipelines import synthetic
from tests.support.json_events import as_json
from tests.support.kafka_broker import kafka_broker, produce
from tests.support.processes import ROOT, run_command_line
from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.config import CosineConfig, OptimizerConfig
from tfdlrm.streaming.events import Topic
from tfdlrm.streaming.following import first_offsets
from tfdlrm.streaming.learner import require_lasting_rate
from tfdlrm.streaming.progressive import ProgressiveValidation

needs_broker = pytest.mark.skipif(
    find_spec("confluent_kafka") is None or find_spec("tensorflow_io") is None,
    reason="confluent-kafka, whose mock cluster is the broker, or tensorflow-io is not "
    "installed",
)


@pytest.mark.parametrize(
    "url", ["clicks", "kafka://", "kafka://host:1", "kafka://h/a/b", "http://h:1/a"]
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(InputError, match="expected kafka://HOST:PORT/TOPIC"):
        Topic.from_url(url)
    assert Topic.from_url("kafka://a,b:1/x").servers == "a:9092,b:1"


def test_a_learning_rate_that_falls_to_0_is_refused():
    with pytest.raises(InputError, match=r"is a cosine down to 0, .*final_share"):
        require_lasting_rate(OptimizerConfig(schedule=CosineConfig()))
    require_lasting_rate(OptimizerConfig(schedule=CosineConfig(final_share=0.1)))


def test_measures_over_time_are_those_of_the_events_between(tmp_path):
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 700), rng.random(700)
    validation = ProgressiveValidation(tmp_path, 200)
    for start in range(0, 700, 50):
        part = slice(start, start + 50)
        validation.add(labels[part], scores[part], 1 - scores[part])
        # Restored from a checkpoint, it continues as if nothing had happened.
        state = json.loads(json.dumps(validation.state))
        validation = ProgressiveValidation(tmp_path, 200, state)
    validation.add_point()
    points = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert [point["events"] for point in points] == [200, 400, 600, 700]
    for point, start in zip(points, (0, 200, 400, 600), strict=True):
        part = slice(start, start + 200)
        measured = log_loss(labels[part], scores[part])
        assert point["log_loss"] == pytest.approx(measured)
        assert point["auc"] == pytest.approx(roc_auc_score(labels[part], scores[part]))
        assert point["frozen_auc"] == pytest.approx(1 - point["auc"])
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_full_disk_does_not_end_a_stream(tmp_path, monkeypatch, capsys):
    def refuse(path, text):
        raise OSError(28, "No space left on device")

    validation = ProgressiveValidation(tmp_path, 2)
    ones = np.ones(2)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "replace_text", refuse)
        validation.add(ones, ones / 2)
    assert "the curves are not on disk: [Errno 28]" in capsys.readouterr().out
    validation.add(ones, ones / 2)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_stream_begins_where_it_is_told_and_goes_on_where_it_was():
    topic, ends = Topic("a:9092", "clicks"), {0: 7, 1: 5}
    assert first_offsets(topic, {}, ends, "earliest") == {0: 0, 1: 0}
    assert first_offsets(topic, {}, ends, "latest") == {0: 7, 1: 5}
    # The second partition is new: none of its events has been learned.
    assert first_offsets(topic, {0: 6}, ends, "latest") == {0: 6, 1: 0}
    with pytest.raises(InputError, match="partition 0 ends at 7, but its events up to"):
        first_offsets(topic, {0: 8}, ends, "earliest")
    with pytest.raises(InputError, match="partition 2 is gone"):
        first_offsets(topic, {2: 8}, ends, "earliest")


@pytest.fixture(scope="module")
def broker():
    with kafka_broker() as address:
        yield address


MODEL = (
    "--model.embedding_dim 4 --model.bottom_mlp_units '[16]' "
    "--model.top_mlp_units '[16]' --batch_size 64 --optimizer.learning_rate 0.05"
)


@pytest.fixture(scope="module")
def drifting(tmp_path_factory):
    """A model trained on three days, and the events of the other four."""
    directory = tmp_path_factory.mktemp("stream")
    synthetic.write_raw(
        directory / "all.tsv", 42_000, 0, vocabulary_scale=0.001, days=7, drift=0.3
    )
    lines = (directory / "all.tsv").read_text().splitlines()
    (directory / "clicks.tsv").write_text("\n".join(lines[:18_000]) + "\n")
    result = run_command_line(
        "python -m pipelines.prepare --raw clicks.tsv --output data && "
        f"python -m tfdlrm.train --data_dir data --run_dir run --export_dir m {MODEL}",
        cwd=directory,
    )
    assert result.returncode == 0, result.stderr
    for name in ("killed", "other"):
        shutil.copytree(directory / "run", directory / name)
    return directory, as_json(lines[18_000:])


def points_of(run):
    return [json.loads(line) for line in (run / "stream" / "metrics.jsonl").open()]


@pytest.mark.slow
@needs_broker
def test_a_stream_is_learned_once_each_event_and_beats_the_frozen_model(
    broker, drifting
):
    directory, events = drifting
    for partition in range(4):  # read in turn, so that the days come in order
        day = events[6_000 * partition : 6_000 * (partition + 1)]
        produce(broker, "clicks", day, partition)
    command = (
        f"python -m tfdlrm.train --stream kafka://{broker}/clicks --stop_at_end true "
        "--measure_every 2000 --checkpoints.steps 30 --compare_frozen true "
        "--export_dir {0}_m --run_dir {0}"
    )
    result = run_command_line(command.format("run"), cwd=directory)
    assert (result.returncode, result.stderr) == (0, "")
    assert "partition 0 at 0, 1 at 0, 2 at 0, 3 at 0" in result.stdout
    exports = (directory / "run" / "stream" / "exports.json").read_text()
    assert json.loads(exports) == ["run_m/1"]
    points = points_of(directory / "run")
    counts = [*range(2048, 24_000, 2048), 24_000]
    assert [point["events"] for point in points] == counts
    # The longer the drift, the more the frozen model has lost.
    for name, sign in (("log_loss", 1), ("auc", -1)):
        gains = [sign * (p[f"frozen_{name}"] - p[name]) for p in points]
        assert np.mean(gains[-6:]) > max(0.005, np.mean(gains[:3]))

    # Neither of two kills loses or repeats an event.
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for num_points in (3, 7):
        child = subprocess.Popen(
            ["exec " + command.format("killed")],
            shell=True,
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        while len(points_of_run(directory / "killed")) < num_points:
            assert child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.wait()
    result = run_command_line(command.format("killed"), cwd=directory)
    assert result.returncode == 0, result.stderr
    assert "partition 0 at 0," not in result.stdout
    assert points_of(directory / "killed") == points
    for name in ("run", "killed"):
        result = run_command_line(
            f"python -m tfdlrm.predict --model {name}_m --raw clicks.tsv "
            f"--output_file {name}.csv",
            cwd=directory,
        )
        assert result.returncode == 0, result.stderr
    scores = [pl.read_csv(directory / f"{name}.csv") for name in ("run", "killed")]
    assert scores[0].equals(scores[1])


def points_of_run(run):
    try:
        return points_of(run)
    except (FileNotFoundError, ValueError):
        return []


@pytest.mark.slow
@needs_broker
def test_a_stream_that_cannot_be_read_is_told_in_one_line(broker, drifting):
    directory, events = drifting
    produce(broker, "long", events[:12_000])
    for url, message in (
        (f"kafka://{broker}/long", "the earlier events were removed"),
        (f"kafka://{broker}/none", "there is no such topic"),
        (
            "kafka://127.0.0.1:1/clicks",
            "no broker of kafka://127.0.0.1:1/clicks",
        ),
    ):
        result = run_command_line(
            f"python -m tfdlrm.train --stream {url} --run_dir other", cwd=directory
        )
        assert result.returncode == 2
        assert message in result.stderr.splitlines()[-1]
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
@needs_broker
def test_an_idle_stream_exports_once_and_tells_what_it_left_out(broker, drifting):
    directory, events = drifting
    produce(broker, "idle", [*events[:64], b"not json"])
    settings = (
        f"--stream kafka://{broker}/idle --run_dir other --export_dir idle_m "
        "--export_minutes 0.02 --on_bad_event skip --batch_size 65"
    )
    with (directory / "idle.log").open("w+") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "tfdlrm.train", *settings.split()],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )
        while not (directory / "other" / "stream" / "exports.json").is_file():
            assert child.poll() is None, (directory / "idle.log").read_text()
            time.sleep(0.1)
        time.sleep(6)
        child.send_signal(signal.SIGINT)
        assert child.wait() == 130
    versions = [path.name for path in (directory / "idle_m").iterdir()]
    assert versions in (["1"], ["1", "2"], ["2", "1"])  # the second of what was learned
    text = (directory / "idle.log").read_text()
    assert "1 events could not be read and were left out" in text
