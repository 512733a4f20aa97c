"""What TensorBoard reads from the events of a run."""

import json

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from tests.support.small_runs import (
    STEPS_PER_EPOCH,
    config_for,
    read,
    small_model,
    train,
    train_until_killed,
)
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.config import OptimizerConfig
from tfdlrm.metrics.binary import binary_metrics
from tfdlrm.training import events
from tfdlrm.training.events import write_results
from tfdlrm.training.fit import fit
from tfdlrm.training.run_directory import RunDirectory

WARM_UP = OptimizerConfig("adagrad", 0.05, warm_up_steps=10)


def read_events(directory):
    accumulator = EventAccumulator(str(directory), {"tensors": 0})
    accumulator.Reload()
    return accumulator


def tensors(accumulator, tag):
    return {
        event.step: np.frombuffer(event.tensor_proto.tensor_content, np.float32)
        if event.tensor_proto.tensor_content
        else event.tensor_proto.float_val
        for event in accumulator.Tensors(tag)
    }


@pytest.fixture(scope="module")
def resumed_run(tmp_path_factory):
    """Return a run with histograms that was killed and resumed."""
    directory = tmp_path_factory.mktemp("run")
    keras.utils.clear_session()  # names of weights begin again, as in a new process
    train_until_killed(directory, 12, WARM_UP, weight_histograms=True)
    keras.utils.clear_session()
    train(directory, WARM_UP, weight_histograms=True)
    return directory


def test_the_learning_rate_is_that_of_the_schedule(resumed_run):
    rates = tensors(read_events(resumed_run / "events" / "train"), "learning_rate")
    assert list(rates) == [5, 9, 14, 18]
    assert [float(rate[0]) for rate in rates.values()] == pytest.approx(
        [0.025 + 0.005, 0.05, 0.05, 0.05]
    )
    lines = (resumed_run / "metrics.jsonl").read_text().splitlines()
    points = [json.loads(line) for line in lines]
    assert [
        point["learning_rate"] for point in points if point["split"] == "train"
    ] == [pytest.approx(float(rate[0])) for rate in rates.values()]


def test_settings_are_hyperparameters_without_paths(resumed_run):
    accumulator = read_events(resumed_run / "events")
    contents = accumulator.summary_metadata["_hparams_/session_start_info"]
    data = plugin_data_pb2.HParamsPluginData.FromString(contents.plugin_data.content)
    values = data.session_start_info.hparams
    assert values["optimizer.learning_rate"].number_value == pytest.approx(0.05)
    assert values["model.name"].string_value == "dlrm"
    assert not [name for name in values if "dir" in name or "prepare" in name]


def test_histograms_of_all_weights_are_there_for_each_point(resumed_run):
    accumulator = read_events(resumed_run / "events" / "weights")
    model = small_model()
    assert len(accumulator.Tags()["tensors"]) == len(model.trainable_variables)
    for tag in accumulator.Tags()["tensors"]:
        assert {event.step for event in accumulator.Tensors(tag)} == {5, 9, 14, 18}


def test_large_tables_are_sampled_evenly(monkeypatch):
    monkeypatch.setattr(events, "MOST_VALUES", 70)
    model = small_model()
    variables = SavedVariables(model)
    (table,) = [
        variable
        for variable in model.trainable_variables
        if getattr(variable, "is_embedding_table", False)
    ]
    values = events._some_values(variables.holder_of(table))
    assert np.array_equal(values, table.numpy()[::4])  # 70 rows of 4 values


def test_histograms_are_only_written_on_request(tmp_path):
    config = config_for(tmp_path, epochs=1)
    with RunDirectory.opened(config) as run:
        fit(small_model(), read, STEPS_PER_EPOCH, None, config, run, "a")
    assert not run.weight_events_directory.exists()


def test_measures_and_pictures_of_the_report_are_there(tmp_path):
    picture = tmp_path / "curves.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(8) + b"\0\0\2\0\0\0\1\0" + b"rest")
    metrics = {"test": binary_metrics(np.array([0, 1]), np.array([0.25, 0.75]))}
    write_results(tmp_path / "events", 7, metrics, [picture])
    accumulator = read_events(tmp_path / "events")
    assert float(tensors(accumulator, "test/auc")[7][0]) == 1
    (image,) = accumulator.Tensors("curves")
    assert image.tensor_proto.string_val == [b"512", b"256", picture.read_bytes()]


def test_a_disk_that_refuses_costs_only_the_events(tmp_path, capsys):
    (tmp_path / "events").touch()  # no directory can be made there
    write_results(tmp_path / "events", 7, {}, [])
    metrics = {"test": binary_metrics(np.array([0, 1]), np.array([0.25, 0.75]))}
    write_results(tmp_path / "events", 7, metrics, [])
    assert "events for TensorBoard are not in" in capsys.readouterr().out
