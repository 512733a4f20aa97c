"""`python -m tfdlrm.train --init_from`, from a run and from an exported model."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.laboratory.loopback import start_workers
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.config import OptimizerConfig
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.versions import CARD_FILE, EXTRA_DIRECTORY
from tfdlrm.models import build_model
from tfdlrm.train import train
from tfdlrm.training.compiling import compile_model
from tfdlrm.training.fit import make_reproducible


@pytest.fixture
def next_day(small_config, exported, tmp_path):
    """Settings of a run that begins with the one that `exported` came from."""
    return replace(
        small_config,
        init_from=small_config.run_dir,
        run_dir=tmp_path / "run",
        export_dir=tmp_path / "model",
    )


@pytest.mark.slow
def test_the_report_and_the_card_say_what_the_run_began_with(next_day, capsys):
    version = train(next_day)
    source = next_day.init_from
    report = (next_day.run_dir / "report.md").read_text()
    assert f"- beginning: {source}, after " in report
    assert "## Rows of tables" in report
    lines = [line for line in report.splitlines() if line.startswith("| C1 |")]
    rows, carried, new, unseen = lines[0].split(" | ")[1:]
    assert rows == carried and (new, unseen) == ("0", "0 |")
    output = capsys.readouterr().out
    assert lines[0] in output
    assert f"Beginning with the weights of {source}, and the state of adagrad" in output
    card = json.loads((version / EXTRA_DIRECTORY / CARD_FILE).read_text())
    assert card["config"]["init_from"] == str(source)


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_a_run_begins_with_an_exported_model(next_day, exported, capsys):
    config = replace(
        next_day, init_from=exported.parent, optimizer=OptimizerConfig("lazy_adam")
    )
    train(config)
    report = (next_day.run_dir / "report.md").read_text()
    assert f"- beginning: {exported}, without state of an optimizer" in report
    assert "the optimizer's state starts anew" in capsys.readouterr().out


def test_what_cannot_be_begun_with_leaves_no_run_behind(next_day, int8_exported):
    version, _ = int8_exported
    for changes, message in (
        ({"init_from": version}, "has tables of 8 bits a number"),
        ({"init_from": next_day.run_dir}, "holds no weights: expected the directory"),
        ({"optimizer": OptimizerConfig("sgd")}, "has the state of another optimizer"),
    ):
        with pytest.raises(InputError, match=message):
            train(replace(next_day, **changes))
        assert not next_day.run_dir.exists()


@pytest.mark.slow
def test_two_workers_begin_with_one_run(next_day, tmp_path):
    # A rate at which no weight changes any more.
    rate = "--optimizer.learning_rate", "1e-30"
    arguments = ["--strategy", "multi_worker", "--batch_size", "64", *rate]
    for name in ("data_dir", "init_from", "run_dir", "export_dir"):
        arguments += [f"--{name}", str(getattr(next_day, name))]
    model = next_day.model
    arguments += ["--model.embedding_dim", str(model.embedding_dim)]
    for name in ("bottom_mlp_units", "top_mlp_units"):
        arguments += [f"--model.{name}", str(list(getattr(model, name)))]
    workers = start_workers(2, ["-m", "tfdlrm.train", *arguments], tmp_path)
    try:
        outputs = [worker.communicate(timeout=400) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    for worker, (output, errors) in zip(workers, outputs, strict=True):
        assert worker.returncode == 0, errors
        assert f"Beginning with the weights of {next_day.init_from}, and" in output
    schema = FeatureSchema.load(next_day.data_dir)
    expected, actual = (build_model(schema, model) for _ in range(2))
    for run, target in ((next_day.init_from, expected), (next_day.run_dir, actual)):
        CheckpointDirectory(run / "checkpoints").load_weights(target)
    for weight, expected_weight in zip(actual.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(weight, expected_weight)


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_two_days_equal_a_loop_over_the_rows_of_both(small_config, tmp_path):
    settings = replace(
        small_config, model=replace(small_config.model, dropout=0.2), seed=3
    )
    day_1, day_2 = (
        replace(
            settings,
            run_dir=tmp_path / name,
            export_dir=tmp_path / "m",
            init_from=source,
        )
        for name, source in (("day1", None), ("day2", tmp_path / "day1"))
    )
    train(day_1)
    train(day_2)
    data_dir, schema = day_1.data_dir, FeatureSchema.load(day_1.data_dir)
    make_reproducible(settings.seed)
    expected, actual = (build_model(schema, settings.model) for _ in range(2))
    compile_model(expected, settings.optimizer)
    for _ in range(2):
        batches = read_split(data_dir, schema, "train", 64, (settings.seed, 0))
        expected.fit(batches, shuffle=False, verbose=0)
    CheckpointDirectory(day_2.run_dir / "checkpoints").load_weights(actual)
    for weight, expected_weight in zip(actual.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(weight, expected_weight)
