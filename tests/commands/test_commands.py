"""The commands of the main job, one after another on the same small data set."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.support import pictures
from tests.support.processes import run_command_line
from tests.support.served import Served
from tests.support.small_models import SMALL_DLRM
from tfdlrm.base.errors import InputError
from tfdlrm.config import OptimizerConfig, PrepareConfig, TrainConfig
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.evaluate import EvaluateCommand, evaluate_model
from tfdlrm.export import ExportCommand, export
from tfdlrm.metrics.binary import binary_metrics
from tfdlrm.planning.advice import Memory
from tfdlrm.predict import PredictCommand, predict
from tfdlrm.train import train

pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.fixture(scope="module")
def config(data_dir, tmp_path_factory) -> TrainConfig:
    directory = tmp_path_factory.mktemp("trained")
    return TrainConfig(
        data_dir=data_dir,
        model=SMALL_DLRM,
        batch_size=64,
        epochs=2,
        evaluations_per_epoch=4,
        run_dir=directory / "run",
        export_dir=directory / "model",
    )


@pytest.fixture(scope="module")
def exported(config) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        pictures.draw(patch)
        return train(config)


@pytest.fixture(scope="module")
def predictions(exported, raw_file, tmp_path_factory) -> np.ndarray:
    output = tmp_path_factory.mktemp("predicted") / "predictions.csv"
    assert predict(PredictCommand(exported, raw_file, output, batch_size=1000)) == 6_000
    with output.open() as file:
        return np.array([float(row["probability"]) for row in csv.DictReader(file)])


def test_training_writes_a_version_that_serving_takes(exported, config):
    assert exported == config.export_dir / "1"
    assert (exported / "saved_model.pb").is_file()
    signature = Served(exported).signatures["serving_default"]
    tensors = {**signature.inputs, **signature.outputs}
    assert {
        name: (tensor.dtype, [size.size for size in tensor.tensor_shape.dim])
        for name, tensor in tensors.items()
    } == {
        "dense_features": (tf.float32.as_datatype_enum, [-1, 13]),
        "categorical_features": (tf.int64.as_datatype_enum, [-1, 26]),
        "probability": (tf.float32.as_datatype_enum, [-1, 1]),
    }


def test_the_run_directory_tells_how_it_learned(exported, config):
    run = config.run_dir
    points = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    num_steps = -(-FeatureSchema.load(config.data_dir).num_rows("train") // 64) * 2
    assert [p["split"] for p in points[:2]] == ["train", "validation"]
    assert points[-1]["step"] == num_steps
    losses = [p["loss"] for p in points if p["split"] == "train"]
    assert losses[-1] < losses[0]
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "curves.png" in (run / "report.md").read_text()
    assert list((run / "events" / "train").glob("events.out.tfevents.*"))
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics) == {"validation", "test"}


def test_evaluating_the_export_gives_the_numbers_of_training(
    exported, config, tmp_path, capsys
):
    output = tmp_path / "metrics.json"
    evaluate_model(
        EvaluateCommand(config.export_dir, config.data_dir, output_file=output)
    )
    printed = capsys.readouterr().out
    measured = json.loads(output.read_text())
    trained = json.loads((config.run_dir / "metrics.json").read_text())
    assert set(measured) == set(trained)
    for split, values in trained.items():
        assert measured[split].pop("dialect") == values.pop("dialect") == "default"
        assert measured[split] == pytest.approx(values, rel=1e-6)
        assert f"| {split} | {values['rows']:,} |" in printed
        assert f"{split}: AUC {values['auc']:.4f} of 0." in printed  # planted truth


def test_a_data_set_without_held_out_rows_is_evaluated_on_request(
    exported, config, tmp_path, capsys
):
    schema = FeatureSchema.load(config.data_dir)
    train_only = tmp_path / "data"
    shutil.copytree(config.data_dir, train_only)
    replace(schema, shards=tuple(schema.split_shards("train"))).save(train_only)
    with pytest.raises(InputError, match="holds out no rows"):
        evaluate_model(EvaluateCommand(exported, train_only))
    evaluate_model(EvaluateCommand(exported, train_only, splits=("train",)))
    assert "| train | 5,143 |" in capsys.readouterr().out


def test_a_place_for_the_measures_that_is_not_there_is_refused(config, tmp_path):
    command = EvaluateCommand(
        config.export_dir, config.data_dir, output_file=tmp_path / "no" / "metrics.json"
    )
    with pytest.raises(InputError, match="is no directory"):
        evaluate_model(command)


def test_a_version_that_nothing_can_follow_is_found_before_a_run_begins(
    config, tmp_path
):
    (tmp_path / "clicks" / str(2**63 - 1)).mkdir(parents=True)
    run = tmp_path / "run"
    with pytest.raises(InputError, match="the highest that there can be"):
        train(replace(config, run_dir=run, export_dir=tmp_path / "clicks"))
    assert not run.exists()


def test_predictions_of_raw_rows_are_those_of_the_prepared_ones(
    predictions, exported, config, raw_file
):
    schema = FeatureSchema.load(config.data_dir)
    num_test = schema.num_rows("test")
    signature = tf.saved_model.load(str(exported)).signatures["serving_default"]
    (features, labels), *more = read_split(config.data_dir, schema, "test", 10_000)
    assert not more
    expected = signature(
        dense_features=features["dense_features"],
        categorical_features=tf.cast(features["categorical_features"], tf.int64),
    )["probability"]
    np.testing.assert_allclose(predictions[-num_test:], expected[:, 0], rtol=1e-5)
    raw_labels = [line[0] == "1" for line in raw_file.open()][-num_test:]
    assert labels[:, 0].numpy().tolist() == raw_labels
    trained = json.loads((config.run_dir / "metrics.json").read_text())["test"]
    measured = binary_metrics(np.array(raw_labels), predictions[-num_test:])
    assert measured.auc == pytest.approx(trained["auc"])


def test_rows_without_a_label_get_the_same_predictions(
    predictions, exported, raw_file, tmp_path
):
    unlabelled = tmp_path / "test.txt"
    lines = raw_file.read_text().splitlines()[:100]
    unlabelled.write_text("".join(line.partition("\t")[2] + "\n" for line in lines))
    output = tmp_path / "predictions.csv"
    predict(PredictCommand(exported, unlabelled, output))
    values = [float(line) for line in output.read_text().splitlines()[1:]]
    np.testing.assert_allclose(values, predictions[:100], rtol=1e-5)


def test_unseen_values_are_scored_as_unknown(exported, raw_file, tmp_path):
    fields = raw_file.read_text().splitlines()[0].split("\t")
    rows = [[*fields[:14], *([value] * 26)] for value in ("deadbeef", "12345678")]
    unseen = tmp_path / "unseen.tsv"
    unseen.write_text("".join("\t".join(row) + "\n" for row in rows))
    output = tmp_path / "predictions.csv"
    predict(PredictCommand(exported, unseen, output))
    first, second = output.read_text().splitlines()[1:]
    assert first == second


def test_a_malformed_row_leaves_no_predictions(exported, raw_file, tmp_path):
    broken = tmp_path / "broken.tsv"
    lines = raw_file.read_text().splitlines()[:3]
    broken.write_text("\n".join([*lines, lines[0].replace("\t", "\tx", 1)]) + "\n")
    output = tmp_path / "predictions.csv"
    with pytest.raises(InputError, match=r"broken\.tsv.*line 4.*I1"):
        predict(PredictCommand(exported, broken, output))
    assert [path.name for path in tmp_path.iterdir()] == ["broken.tsv"]


def test_exporting_a_run_adds_a_version_with_the_same_numbers(
    exported, config, predictions, raw_file, tmp_path
):
    again = export(ExportCommand(config.run_dir, config.export_dir))
    assert again == config.export_dir / "2"
    output = tmp_path / "predictions.csv"
    predict(PredictCommand(again, raw_file, output))
    values = [float(line) for line in output.read_text().splitlines()[1:]]
    np.testing.assert_allclose(values, predictions, rtol=1e-5)
    assert sorted(p.name for p in config.export_dir.iterdir()) == ["1", "2"]


def test_a_used_run_directory_is_refused(exported, config):
    with pytest.raises(InputError, match="is in use already"):
        train(config)


def test_a_used_run_directory_is_refused_before_rows_are_prepared(
    exported, config, raw_file, tmp_path
):
    again = replace(config, raw=raw_file, data_dir=tmp_path / "data")
    with pytest.raises(InputError, match="is in use already"):
        train(again)
    assert not (tmp_path / "data").exists()


def test_a_raw_file_is_prepared_once(raw_file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(raw=raw_file, model=SMALL_DLRM, export_dir=tmp_path / "model")
    monkeypatch.setattr(
        "tfdlrm.runs.training_run.memory_here", lambda *_: Memory(host=0)
    )

    def prepare_only(config):
        with pytest.raises(InputError, match="and 0 B are there"):
            train(config)
        return capsys.readouterr().out

    run1 = replace(config, run_dir=tmp_path / "run1")
    assert "is already prepared" not in prepare_only(run1)
    schema = tmp_path / "data" / "clicks" / "schema.json"
    written = schema.stat().st_mtime_ns
    config = replace(config, run_dir=tmp_path / "run2")
    assert "is already prepared" in prepare_only(config)
    assert schema.stat().st_mtime_ns == written
    prepared = replace(
        config, raw=None, data_dir=schema.parent, prepare=PrepareConfig(days=3)
    )
    assert "not used are prepare.days 3" in prepare_only(prepared)


@pytest.mark.slow
def test_mirrored_training_learns_what_one_device_does(config, tmp_path):
    measured = []
    for strategy in ("default", "mirrored"):
        run = tmp_path / strategy
        export_dir = tmp_path / "model"
        optimizer = OptimizerConfig("sgd", 0.05)
        train(
            replace(
                config,
                strategy=strategy,
                optimizer=optimizer,
                run_dir=run,
                export_dir=export_dir,
            )
        )
        metrics = json.loads((run / "metrics.json").read_text())["test"]
        del metrics["dialect"]
        measured.append(metrics)
    assert measured[1] == pytest.approx(measured[0], rel=1e-3)


@pytest.mark.slow
def test_training_without_arguments_needs_nothing(tmp_path):
    result = run_command_line("python -m tfdlrm.train", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "saved_models" / "dlrm" / "1" / "saved_model.pb").is_file()
    assert "python -m tfdlrm.predict --model saved_models/dlrm/1" in result.stdout
