"""`python -m tfdlrm.train`: from rows to an exported model."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tfdlrm.command_line import parse, run_command
from tfdlrm.config import TrainConfig
from tfdlrm.errors import InputError
from tfdlrm.run_directory import RunDirectory
from tfdlrm.schema import FeatureSchema

if TYPE_CHECKING:
    import keras

    from tfdlrm.metrics import BinaryMetrics

SYNTHETIC_FILE = Path("data/synthetic.tsv")
SYNTHETIC_ROWS = 400_000


def train(config: TrainConfig) -> Path:
    """Train, evaluate, report and export.

    Args:
        config: Everything there is to say.

    Returns:
        The version directory of the exported SavedModel.

    Raises:
        InputError: If the configuration or the data cannot be used.
    """
    start = time.perf_counter()
    data_dir, raw, schema = _data_set(config)
    config = replace(config, data_dir=data_dir, raw_data_file=None)
    if not schema.num_rows("train"):
        raise InputError(f"{data_dir} has no train rows: prepare it with some")
    schema.check_shards(data_dir)

    import keras

    from tfdlrm.checkpoints import save_weights
    from tfdlrm.data import read_split
    from tfdlrm.distribution import strategy
    from tfdlrm.models import DLRM
    from tfdlrm.report import write_report
    from tfdlrm.serving.saved_model import export_model
    from tfdlrm.training import compile_model, curve_rows, fit

    keras.utils.set_random_seed(config.seed)
    run = RunDirectory.create(config)
    with strategy(config.strategy).scope():
        model = DLRM.from_schema(schema, config.model)
        compile_model(model, config.optimizer)
    parameters = f"{model.count_params():,}"
    print(f"Training {parameters} parameters on {schema.num_rows('train'):,} rows")

    fit_start = time.perf_counter()
    validation = curve_rows(data_dir, schema)
    points = fit(
        model,
        lambda epoch: read_split(
            data_dir, schema, "train", config.batch_size, (config.seed, epoch)
        ),
        validation,
        config.epochs,
        config.evaluations_per_epoch,
        run,
    )
    fit_seconds = time.perf_counter() - fit_start

    save_weights(model, run.checkpoint_prefix)
    metrics = _measure(model, data_dir, schema)
    exported = export_model(model, schema, data_dir, config.export_dir)
    report = write_report(
        run.path,
        points,
        metrics,
        {
            "data set": f"{data_dir} ({schema.dialect} dialect)",
            "parameters": parameters,
            "optimizer": f"{config.optimizer.name}, learning rate "
            f"{config.optimizer.learning_rate}",
            "training": f"{config.epochs} epoch(s) of {schema.num_rows('train'):,} "
            f"rows, batch size {config.batch_size}, {fit_seconds:.1f} s",
            "model": str(exported),
        },
    )
    _summarize(metrics, report, exported)
    print(f"Done in {time.perf_counter() - start:.0f} s. Score raw rows with it:\n")
    print(
        f"  python -m tfdlrm.predict --model {exported} "
        f"--input {raw or 'RAW.tsv'} --output predictions.csv"
    )
    return exported


def _data_set(config: TrainConfig) -> tuple[Path, Path | None, FeatureSchema]:
    """The prepared data set, made first where need be, and the raw file if known."""
    if config.data_dir is not None and config.raw_data_file is None:
        return config.data_dir, None, FeatureSchema.load(config.data_dir)

    from pipelines import synthetic
    from pipelines.prepare import prepare

    raw = config.raw_data_file
    if raw is None:
        raw = SYNTHETIC_FILE
        if not raw.is_file():
            print(f"No data given: making {SYNTHETIC_ROWS:,} synthetic rows in {raw}")
            synthetic.write_raw(raw, SYNTHETIC_ROWS, seed=0)
    data_dir = config.data_dir or Path("data") / raw.name.partition(".")[0]
    return data_dir, raw, prepare([raw], data_dir, config.prepare)


def _measure(
    model: "keras.Model", data_dir: Path, schema: FeatureSchema
) -> dict[str, "BinaryMetrics"]:
    from tfdlrm.data import read_split
    from tfdlrm.evaluation import EVALUATION_BATCH_SIZE, evaluate
    from tfdlrm.training import probabilities_of

    score = probabilities_of(model)
    return {
        split: evaluate(
            score, read_split(data_dir, schema, split, EVALUATION_BATCH_SIZE)
        )
        for split in schema.held_out_splits
    }


def _summarize(
    metrics: dict[str, "BinaryMetrics"], report: Path, exported: Path
) -> None:
    from tfdlrm.evaluation import as_json, as_table

    (report.parent / "metrics.json").write_text(as_json(metrics), encoding="utf-8")
    print(f"\n{as_table(metrics)}\n")
    print(f"Report: {report}")
    print(f"Model:  {exported}")


def main() -> None:
    train(parse(TrainConfig, "tfdlrm.train"))


if __name__ == "__main__":
    run_command(main)
