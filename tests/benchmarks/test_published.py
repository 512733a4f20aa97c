"""The benchmark of published results: its files, its table, and a small run."""

import gzip
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import published
from benchmarks.published import (
    ABLATION,
    PUBLISHED,
    PublishedCommand,
    ablation_table,
    split_files,
    table,
)
from benchmarks.runs.recipe import Reached
from tests.benchmarks.test_benchmarks import cells
from tfdlrm.base.command_line import parse
from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig

HEADER = "label,user,item,daytime,weekday,isweekend,homework,cost,weather,country,city"


def write_split(path, num_rows, seed):
    """Write made-up rows in which the label depends on the item."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 4, (num_rows, 10))
    labels = (rng.random(num_rows) < 0.2 + 0.2 * ids[:, 1]).astype(int)
    lines = [",".join(map(str, row)) for row in np.column_stack([labels, ids])]
    text = "\n".join([HEADER, *lines]) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)


def reached(auc, log_loss, test=None):
    return Reached((auc, log_loss), test, 10, ((30.0, 0.9), (60.0, auc)))


def test_the_table_shows_means_and_differences_to_what_is_published():
    runs = [reached(0.9860, 0.1400), reached(0.9840, 0.1420)]
    assert cells(table([("dlrm", runs)])) == [
        [
            "model",
            "validation AUC",
            "validation log loss",
            "published AUC",
            "published log loss",
            "AUC - published",
            "log loss - published",
            "s to published AUC",
            "epochs",
            "s",
        ],
        [
            "dlrm",
            "0.9850 ± 0.0014",
            "0.1410 ± 0.0014",
            "0.9840",
            "0.1444",
            "+0.0010",
            "-0.0034",
            "60",
            "10.0",
            "60",
        ],
    ]


def test_with_test_rows_those_are_compared():
    row = cells(table([("fm", [reached(0.97, 0.2, (0.9661, 0.2075))])]))[1]
    assert row[3:9] == ["0.9661", "0.2075", "0.9671", "0.2065", "-0.0010", "+0.0010"]


def test_a_published_auc_that_a_run_does_not_reach_has_no_time():
    runs = [reached(0.99, 0.1), reached(0.98, 0.1)]
    assert cells(table([("dlrm", runs)]))[1][-3:] == ["-", "10.0", "60"]


def test_the_test_rows_may_be_absent_and_files_compressed(tmp_path):
    write_split(tmp_path / "train.csv.gz", 3, 0)
    write_split(tmp_path / "valid.csv", 3, 1)
    assert split_files(tmp_path) == {
        "train": (tmp_path / "train.csv.gz",),
        "validation": (tmp_path / "valid.csv",),
    }


def test_a_directory_without_validation_rows_is_refused(tmp_path):
    write_split(tmp_path / "train.csv", 3, 0)
    with pytest.raises(InputError, match=r"has no valid\.csv or valid\.csv\.gz"):
        split_files(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": ()}, "seeds is .*, expected one or more"),
        ({"models": ("dlrm", "gbdt")}, "models is .*, expected one or more of dlrm"),
        ({"models": ()}, "models is"),
    ],
)
def test_settings_that_measure_nothing_are_refused(tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        PublishedCommand(tmp_path, **settings)


@pytest.mark.parametrize("model", PUBLISHED)
def test_each_published_model_has_a_recipe_of_its_own(model):
    path = published.CONFIGS / f"frappe_x1_{model}.yaml"
    recipe = parse(TrainConfig, "tfdlrm.train", ["--config", str(path)])
    assert recipe.model.name == model


def test_each_piece_of_the_recipe_can_be_left_out(tmp_path):
    command = PublishedCommand(tmp_path, ablation=True)
    (name, folder, recipe), *others = published._recipes(command)
    assert (name, folder) == ("the recipe", "dlrm")
    assert recipe.model.normalization and recipe.optimizer.table_l2
    configs = [config for _, _, config in others]
    assert len({repr(config) for config in configs} | {repr(recipe)}) == len(ABLATION)
    assert len({folder for _, folder, _ in others}) == len(others)


def test_the_ablation_is_compared_with_the_recipe():
    results = [
        ("the recipe", [reached(0.98, 0.14), reached(0.99, 0.15)]),
        ("no dropout", [reached(0.975, 0.16)]),
    ]
    rows = cells(ablation_table(results))
    assert rows[1][:1] + rows[1][3:] == [
        "the recipe",
        "+0.0000",
        "+0.0000",
        "10.0",
        "60",
    ]
    assert rows[2][3:5] == ["-0.0100", "+0.0150"]


@pytest.mark.slow
def test_small_splits_are_prepared_trained_and_compared(tmp_path, capsys, monkeypatch):
    write_split(tmp_path / "train.csv.gz", 600, 0)
    write_split(tmp_path / "valid.csv.gz", 200, 1)
    write_split(tmp_path / "test.csv.gz", 200, 2)
    argv = ["--data", str(tmp_path), "--work_dir", str(tmp_path / "work")]
    argv += ["--models", "logistic_regression", "--seeds", "0,1"]
    command = parse(PublishedCommand, "benchmarks.published", argv)
    [(model, runs)] = published.measure(command)
    assert model == "logistic_regression"
    assert all(0 < run.test[0] <= 1 for run in runs)
    assert len(cells(table([(model, runs)]))[1]) == 12
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "logistic_regression, seed 0",
        "logistic_regression, seed 1",
    ]
    [(_, again)] = published.measure(command)
    assert again == runs  # finished runs are read, not trained again
    recipe = published._recipe("logistic_regression")
    monkeypatch.setattr(published, "_recipe", lambda model: replace(recipe, epochs=1))
    with pytest.raises(InputError, match="finished run with another epochs"):
        list(published.measure(command))
