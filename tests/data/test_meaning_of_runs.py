"""Runs and streams go on with a data set that means the same, and with no other."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tests.support.shop import ANOTHER, copy_of_run, edit_json
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.compare import CompareCommand, compare
from tfdlrm.config.stream import StreamConfig
from tfdlrm.data.meaning import (
    Meaning,
    read_meaning,
)
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.export import ExportCommand, export
from tfdlrm.exporting.scorer import load_scorer
from tfdlrm.streaming.batches import Batch
from tfdlrm.streaming.events import Topic
from tfdlrm.streaming.learner import Learner
from tfdlrm.train import train
from tfdlrm.training.run_directory import RunDirectory


@pytest.mark.parametrize("quantize", ["none", "int8"])
@pytest.mark.parametrize(
    ("data", "difference"), [("other", ANOTHER), ("zero", "positive is '1' there")]
)
def test_a_run_is_not_exported_with_a_data_set_that_means_something_else(
    shop, tmp_path, data, difference, quantize
):
    run = copy_of_run(shop, tmp_path, data)
    with pytest.raises(InputError, match="is of a run on another data set") as error:
        export(ExportCommand(run, tmp_path / "exported", quantize=quantize))
    assert difference in str(error.value)
    assert not (tmp_path / "exported").exists()


@pytest.mark.slow
def test_a_run_is_exported_with_its_data_set_made_again_in_other_records(
    shop, tmp_path, capsys
):
    run = copy_of_run(shop, tmp_path, "rows")
    exported = export(ExportCommand(run, tmp_path / "exported"))
    assert "not checked" not in capsys.readouterr().out
    features = {
        "dense_features": tf.constant([[0.5], [2.0]]),
        "categorical_features": tf.constant([[2], [4]], tf.int64),
    }
    scores = [load_scorer(model)(features) for model in (exported, shop / "model")]
    np.testing.assert_array_equal(*scores)


def test_a_checkpoint_of_an_earlier_release_is_compared_by_its_rows(
    shop, tmp_path, capsys
):
    run = copy_of_run(shop, tmp_path, "data")
    (state,) = run.glob("checkpoints/*/state.json")
    edit_json(state, lambda fields: fields.pop("meaning"))
    export(ExportCommand(run, tmp_path / "exported"))
    assert "does not say what its ids mean" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "data")
    shutil.copytree(shop / "rows", tmp_path / "data")
    with pytest.raises(InputError, match="shards have other checksums"):
        export(ExportCommand(run, tmp_path / "exported"))


def test_training_does_not_go_on_with_another_vocabulary_for_the_same_shards(
    shop, tmp_path
):
    run = copy_of_run(shop, tmp_path, "data")
    for name in ("report.md", "summary.json", "metrics.json"):
        (run / name).unlink()
    contents = FeatureSchema.load(shop / "other").vocabulary_contents
    edit_json(
        tmp_path / "data" / "schema.json",
        lambda fields: fields.update(vocabulary_contents=contents),
    )
    config = replace(
        RunDirectory(run).load_config(), run_dir=run, export_dir=tmp_path / "exported"
    )
    with pytest.raises(InputError) as error:
        train(config)
    assert "is of a run on another data set" in str(error.value)
    assert ANOTHER in str(error.value)


def test_a_stream_does_not_go_on_with_a_data_set_that_means_something_else(
    shop, tmp_path
):
    run = copy_of_run(shop, tmp_path, "data")
    config = StreamConfig(
        stream="kafka://host/clicks", run_dir=run, export_dir=tmp_path / "exported"
    )
    topic = Topic.from_url(config.stream)
    learner = Learner(config, RunDirectory(run), topic)
    features = {
        "dense_features": np.ones((2, 1), np.float32),
        "categorical_features": np.array([[2], [3]], np.int32),
    }
    labels = np.ones((2, 1), np.float32)
    learner.learn(Batch(features, labels, {0: 2}))
    learner.save()
    (state,) = (run / "stream").glob("checkpoints/*/state.json")
    meaning = read_meaning(json.loads(state.read_text())["meaning"])
    assert meaning == Meaning.of(FeatureSchema.load(shop / "data"))
    shutil.rmtree(tmp_path / "data")
    shutil.copytree(shop / "other", tmp_path / "data")
    with pytest.raises(InputError, match=re.escape(ANOTHER)):
        Learner(config, RunDirectory(run), topic)
    # Checkpoints of a stream that another run learned from.
    checkpoints = CheckpointDirectory(run / "stream" / "checkpoints")
    meaning = Meaning.of(FeatureSchema.load(shop / "zero"))
    with pytest.raises(InputError, match="positive is '1' there, '0' here"):
        checkpoints.restore(None, meaning=meaning)


def test_runs_of_a_data_set_that_means_something_else_are_not_compared(shop, tmp_path):
    command = CompareCommand(
        shop / "data", ("logistic_regression",), ("sgd",), output=tmp_path / "compared"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfdlrm.compare.runs_of", lambda *_args: 1 / 0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                compare(command)
        for data, difference in (("other", ANOTHER), ("zero", "positive is '1'")):
            with pytest.raises(InputError, match="compares runs on another") as error:
                compare(replace(command, data_dir=shop / data))
            assert difference in str(error.value)
        with pytest.raises(InputError, match="shards have other checksums"):
            compare(replace(command, data_dir=shop / "rows"))
