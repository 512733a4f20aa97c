"""Data sets whose labels are all alike."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pipelines.prepare import prepare
from tests.support.processes import run_command_line
from tfdlrm.base.errors import InputError
from tfdlrm.compare import CompareCommand, compare
from tfdlrm.comparison.runs import Spread
from tfdlrm.config import PrepareConfig, TrainConfig
from tfdlrm.data.one_class import require_both_labels
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.evaluate import EvaluateCommand, evaluate_model
from tfdlrm.metrics.binary import binary_metrics
from tfdlrm.metrics.splits import against_reachable, as_table
from tfdlrm.streaming.learner import Learner
from tfdlrm.streaming.progressive import ProgressiveValidation
from tfdlrm.train import train


def data_set(directory, labels, positive="yes", **settings):
    """Prepare a data set of these labels, the last fifth of them for test."""
    directory.mkdir(exist_ok=True)
    rows = "".join(f"{label},{row % 7}\n" for row, label in enumerate(labels))
    (directory / "log.csv").write_text(f"y,a\n{rows}")
    columns = directory / "columns.yaml"
    columns.write_text(f"{{label: {{name: y, positive: '{positive}'}}, dense: [a]}}")
    config = PrepareConfig(columns=columns, days=5, validation_days=0, test_days=1)
    prepare([directory / "log.csv"], directory / "data", replace(config, **settings))
    return directory / "data"


@pytest.mark.parametrize(
    ("labels", "positive", "label"),
    [
        (["yes", "no"] * 50, "Yes", 0),
        (["no"] * 100, "yes", 0),
        (["yes"] * 100, "yes", 1),
        (["yes"] * 80 + ["no"] * 20, "yes", 1),
    ],
)
def test_training_on_one_class_is_refused(tmp_path, labels, positive, label):
    data_dir = data_set(tmp_path, labels, positive)
    config = TrainConfig(data_dir=data_dir, run_dir=tmp_path / "run")
    message = f"{data_dir}: all 80 train rows have label {label}, .*--allow_one_class"
    with pytest.raises(InputError, match=message):
        train(config)
    assert not (tmp_path / "run").exists()


HELD_OUT = ["yes", "no"] * 40 + ["no"] * 20


@pytest.mark.parametrize("is_counted", [True, False])
def test_held_out_rows_of_one_class_are_refused(tmp_path, is_counted):
    data_dir = data_set(tmp_path, HELD_OUT)
    if not is_counted:  # as in data sets of earlier releases
        replace(FeatureSchema.load(data_dir), positives=None).save(data_dir)
    config = TrainConfig(data_dir=data_dir, run_dir=tmp_path / "run")
    message = f"{data_dir}: all 20 test rows have label 0, .*--allow_one_class"
    with pytest.raises(InputError, match=message):
        train(config)
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="all 20 test rows have label 0") as refused:
        compare(CompareCommand(data_dir=data_dir, output=tmp_path / "out"))
    assert "--" not in str(refused.value)


def test_labels_that_are_not_counted_are_read_until_both_are_seen(tmp_path):
    data_dir = data_set(tmp_path, ["yes", "no"] * 50)
    schema = replace(FeatureSchema.load(data_dir), positives=None)
    require_both_labels(data_dir, schema)
    all_yes = data_set(tmp_path / "yes", ["yes"] * 80 + ["no", "yes"] * 10)
    schema = replace(FeatureSchema.load(all_yes), positives=None)
    with pytest.raises(InputError, match="all 80 train rows have label 1"):
        require_both_labels(all_yes, schema)


def test_preparing_says_which_rows_have_one_label(tmp_path, capsys):
    data_set(tmp_path, HELD_OUT)
    assert "all rows of test have the same label" in capsys.readouterr().out


def test_models_are_not_compared_on_one_class(tmp_path):
    data_dir = data_set(tmp_path, ["no"] * 100)
    command = CompareCommand(data_dir=data_dir, output=tmp_path / "out")
    with pytest.raises(InputError, match="all 80 train rows have label 0") as refused:
        compare(command)
    assert "--" not in str(refused.value)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A data set of one class, and a model that was trained on it on request."""
    directory = tmp_path_factory.mktemp("trained")
    data_dir = data_set(directory, ["no"] * 100)
    command = (
        f"python -m tfdlrm.train --data_dir {data_dir} --run_dir {directory / 'run'} "
        f"--export_dir {directory / 'model'} --model.name logistic_regression "
        "--allow_one_class"
    )
    process = run_command_line(command, directory)
    assert process.returncode == 0, process.stderr
    return directory, process.stdout


@pytest.mark.slow
def test_one_class_is_trained_on_when_it_is_asked_for(trained):
    directory, printed = trained
    note = "All 20 test rows have label 0: of one class the AUC"
    report = (directory / "run" / "report.md").read_text()
    for text in (printed, report):
        assert note in text
        assert "nan" not in text
    measures = json.loads((directory / "run" / "metrics.json").read_text())
    assert measures["test"]["auc"] is None


@pytest.mark.slow
def test_evaluating_one_class_says_that_there_is_no_auc(trained, capsys):
    directory, _ = trained
    evaluate_model(EvaluateCommand(directory / "model", directory / "data"))
    printed = capsys.readouterr().out
    assert "All 20 test rows have label 0" in printed
    assert "| undefined |" in printed
    assert "nan" not in printed


@pytest.mark.parametrize("label", [0, 1])
def test_a_table_calls_undefined_what_is(label):
    values = binary_metrics(np.full(3, label), np.array([0.1, 0.5, 0.9]))
    table = as_table({"test": values, "train": binary_metrics([0, 1], [0.2, 0.7])})
    assert f"All 3 test rows have label {label}" in table
    assert "train rows have" not in table
    row = next(line for line in table.splitlines() if line.startswith("| test"))
    assert row.count("undefined") == (3 if label == 0 else 2)
    assert "nan" not in table
    assert "inf" not in table
    reachable = {"test": {"auc": float("nan"), "log_loss": 0.5}}
    line = against_reachable({"test": values}, reachable)
    assert line.startswith("test: AUC undefined of undefined reachable")


def test_a_spread_of_nothing_is_undefined():
    assert f"{Spread.of([float('nan')] * 2):.4f}" == "undefined"


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    ("parts", "label"),
    [([[0, 0, 0]], 0), ([[1, 1], [1]], 1), ([[0, 0], [1]], None), ([], None)],
)
@pytest.mark.parametrize("every", [1, 2, 9])
def test_a_stream_knows_whether_it_has_seen_both_labels(tmp_path, parts, label, every):
    validation = ProgressiveValidation(tmp_path, every)
    for labels in parts:
        validation.add(np.array(labels), np.full(len(labels), 0.3))
        validation = ProgressiveValidation(tmp_path, every, validation.state)
    assert validation.only_label == label
    for is_allowed in (False, True):
        config = SimpleNamespace(allow_one_class=is_allowed)
        learner = SimpleNamespace(validation=validation, _config=config)
        problem = Learner.one_class_problem(learner)
        assert (problem is not None) == (label is not None and not is_allowed)
    if label is not None:
        assert f"all 3 events so far have label {label}" in Learner.one_class_problem(
            SimpleNamespace(
                validation=validation, _config=SimpleNamespace(allow_one_class=False)
            )
        )


def test_a_stream_calls_the_auc_of_one_class_undefined(tmp_path, capsys):
    validation = ProgressiveValidation(tmp_path, every=4)
    validation.add(np.zeros(4), np.full(4, 0.3))
    assert "undefined" in capsys.readouterr().out
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["auc"] is None
