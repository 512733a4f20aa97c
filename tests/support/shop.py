"""Data sets of a shop, whose ids and labels differ in meaning, and a model of one."""

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

from pipelines.prepare import prepare
from tfdlrm.base.checksums import LINE_SEAL, PAGE_SEAL
from tfdlrm.config import OptimizerConfig, PrepareConfig, TrainConfig
from tfdlrm.config.models import LogisticRegressionConfig
from tfdlrm.evaluate import EvaluateCommand, evaluate_model
from tfdlrm.exporting.manifest import MANIFEST_FILE, write_manifest
from tfdlrm.train import train

COLUMNS = "label: {label}\ndense: [price]\ncategorical: [country]\n"
CHANCE = {"de": 0.9, "fr": 0.5, "it": 0.1}
ANOTHER = "column country: another vocabulary (3 values there, 3 here)"


def write_week(path: Path, weights: list[int], num_rows: int = 1500) -> Path:
    """Write rows whose countries are as frequent as `weights`, which order the ids."""
    rng = random.Random(len(path.name))
    lines = ["bought,country,price"]
    for _ in range(num_rows):
        country = rng.choices(list(CHANCE), weights)[0]
        bought = int(rng.random() < CHANCE[country])
        lines.append(f"{bought},{country},{rng.random():.3f}")
    path.write_text("\n".join(lines) + "\n")
    return path


def make_shop(root):
    """Write logs, data sets, a run of the first data set, and its model."""
    week1 = write_week(root / "week1.csv", [6, 3, 1])
    week2 = write_week(root / "week2.csv", [1, 3, 6])
    for name, label in (
        ("same", "bought"),
        ("zero", '{name: bought, positive: "0"}'),
        ("one", '{name: bought, positive: "1"}'),
    ):
        (root / f"{name}.yaml").write_text(COLUMNS.format(label=label))
    settings = PrepareConfig(min_frequency=1, columns=root / "same.yaml")
    prepare([week1], root / "data", settings)
    prepare([week2], root / "other", settings)
    for name in ("zero", "one"):
        label_settings = replace(settings, columns=root / f"{name}.yaml")
        prepare([week1], root / name, label_settings)
    # The values and their order are the same; everything else differs.
    rows = replace(settings, record_format="row", test_days=2.0, seed=3)
    prepare([write_week(root / "week3.csv", [60, 30, 10])], root / "rows", rows)
    hash_settings = replace(
        settings, dialect="hash", min_frequency=None, hash_buckets=7
    )
    prepare([week1], root / "hashed", hash_settings)
    train(
        TrainConfig(
            data_dir=root / "data",
            model=LogisticRegressionConfig(),
            optimizer=OptimizerConfig("adagrad", 0.5),
            batch_size=64,
            evaluations_per_epoch=1,
            run_dir=root / "run",
            export_dir=root / "model",
        )
    )


def evaluate(model, data_dir):
    """Measure a model on the training rows of a data set."""
    evaluate_model(EvaluateCommand(model, data_dir, ("train",)))


def edit_json(path, change):
    """Change a JSON file, and leave its checksum out."""
    fields = json.loads(path.read_text())
    for style in (PAGE_SEAL, LINE_SEAL):
        fields.pop(style.entry, None)
    change(fields)
    path.write_text(json.dumps(fields))


def write_manifest_again(model):
    """Write the manifest of a version whose files were changed."""
    (model / MANIFEST_FILE).unlink()
    write_manifest(model)


def as_earlier_release(schema_file):
    """Leave out of a schema what an earlier release did not write."""
    edit_json(schema_file, lambda fields: fields.pop("vocabulary_contents"))


def copy_of_run(shop, tmp_path, data):
    """Copy the run, as if its data set had been prepared again as `data`."""
    run = shutil.copytree(shop / "run", tmp_path / "run")
    config = (run / "config.yaml").read_text()
    for file in run.rglob("*.yaml"):
        text = file.read_text()
        file.write_text(text.replace(str(shop / "data"), str(tmp_path / "data")))
    assert str(shop / "data") in config
    shutil.copytree(shop / data, tmp_path / "data")
    return run
