"""`python -m benchmarks.small_data`: what each model learns from a few rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.laboratory.table import markdown
from pipelines.prepare import prepare
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import require
from tfdlrm.comparison.runs import Spread
from tfdlrm.config import PrepareConfig, TrainConfig
from tfdlrm.config.models import (
    DCNConfig,
    DCNV2Config,
    DeepFMConfig,
    FMConfig,
    LogisticRegressionConfig,
    MFConfig,
    MLPConfig,
    ModelConfig,
)
from tfdlrm.data.schema import FeatureSchema

if TYPE_CHECKING:
    from tfdlrm.metrics.binary import BinaryMetrics

CONFIGS = Path(__file__).parents[1] / "configs"

# Towers as small as the recipe's, and vectors that start as near 0.
OTHER_MODELS: tuple[ModelConfig, ...] = (
    LogisticRegressionConfig(),
    FMConfig(),
    MFConfig("C4", "C10"),
    MLPConfig(units=(64,), initial_bound=0.01),
    DeepFMConfig(deep_units=(64,)),
    DCNConfig(deep_units=(64,), initial_bound=0.01),
    DCNV2Config(deep_units=(64,), initial_bound=0.01),
)


@dataclass(frozen=True)
class SmallDataCommand:
    """Train every model on a small log in Criteo's format, and measure the last 1/7.

    The first rows are configs/criteo_sample_best.yaml, as an ensemble and as the mean
    of its members, and configs/criteo_sample.yaml. The learning rate of the others is
    the best of several by the log loss of the last rows before the test rows. Then
    all are trained on all rows before the test rows, once for each seed.

    Args:
        raw: The log, in Criteo's format.
        work_dir: Directory for the prepared rows.
        learning_rates: Rates from which the other models choose.
        seeds: Seeds of initial weights and order of rows.
        only_best: Whether to leave out all rows but those of the best settings.
    """

    raw: Path
    work_dir: Path = Path("runs/small_data")
    learning_rates: tuple[float, ...] = (0.01, 0.02, 0.04)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    only_best: bool = False

    def __post_init__(self) -> None:
        for name in ("learning_rates", "seeds"):
            values = getattr(self, name)
            require(len(values) > 0, name, values, "one or more")


def measure(command: SmallDataCommand) -> Iterator[tuple[str, ...]]:
    """Return the rows of the table."""
    best = _recipe("criteo_sample_best")
    best_data = _prepare(command, best.prepare, "best")
    yield from _rows_of_ensemble(replace(best, data_dir=best_data), command.seeds)
    if command.only_best:
        return
    recipe = _recipe("criteo_sample")
    all_data = _prepare(command, recipe.prepare, "whole")
    part_data = _prepare(command, replace(recipe.prepare, validation_days=0.5), "part")
    yield _row(replace(recipe, data_dir=all_data), command.seeds)
    for model in OTHER_MODELS:
        config = replace(recipe, model=model, data_dir=part_data)
        rate = min(command.learning_rates, key=lambda rate: _choice(config, rate))
        yield _row(replace(_at(config, rate), data_dir=all_data), command.seeds)


def _recipe(name: str) -> TrainConfig:
    return parse(
        TrainConfig, "tfdlrm.train", ["--config", str(CONFIGS / f"{name}.yaml")]
    )


def _prepare(command: SmallDataCommand, config: PrepareConfig, name: str) -> Path:
    directory = command.work_dir / name
    prepare([command.raw], directory, config)
    return directory


def _at(config: TrainConfig, learning_rate: float) -> TrainConfig:
    optimizer = replace(config.optimizer, learning_rate=learning_rate)
    return replace(config, optimizer=optimizer)


def _choice(config: TrainConfig, learning_rate: float) -> float:
    (metrics,) = _train_and_measure(_at(config, learning_rate), "validation")
    return metrics.log_loss


def _row(config: TrainConfig, seeds: Sequence[int]) -> tuple[str, ...]:
    runs = [_train_and_measure(replace(config, seed=seed), "test")[0] for seed in seeds]
    return _as_row(config.model.name, config, runs)


def _rows_of_ensemble(
    config: TrainConfig, seeds: Sequence[int]
) -> Iterator[tuple[str, ...]]:
    """Return the row of an ensemble, and that of its members alone."""
    runs = [_train_and_measure(replace(config, seed=seed), "test") for seed in seeds]
    name = config.model.name
    ensembles = [run[0] for run in runs]
    yield _as_row(f"{name}, {config.ensemble} members", config, ensembles)
    members = [metrics for run in runs for metrics in run[1:]]
    yield _as_row(f"{name}, a member alone", config, members)


def _as_row(
    name: str, config: TrainConfig, runs: Sequence["BinaryMetrics"]
) -> tuple[str, ...]:
    return (
        name,
        f"{config.optimizer.learning_rate:g}",
        f"{Spread.of([run.auc for run in runs]):.4f}",
        f"{Spread.of([run.log_loss for run in runs]):.4f}",
        f"{Spread.of([run.normalized_entropy for run in runs]):.4f}",
    )


def _train_and_measure(config: TrainConfig, split: str) -> "list[BinaryMetrics]":
    """Train as `tfdlrm.train` does, without its files, and measure a split.

    Returns:
        The measures of the model, and those of each member of an ensemble.
    """
    import keras

    from tfdlrm.data.reading import read_split
    from tfdlrm.data.side_by_side import side_by_side
    from tfdlrm.metrics.splits import EVALUATION_BATCH_SIZE, evaluate
    from tfdlrm.models.ensemble import build_ensemble, member_seeds
    from tfdlrm.training.compiling import compile_model
    from tfdlrm.training.fit import make_reproducible, probabilities_of

    data_dir = config.data_dir
    assert data_dir is not None
    keras.backend.clear_session()
    make_reproducible(config.seed)
    schema = FeatureSchema.load(data_dir)
    model = build_ensemble(schema, config.model, config.ensemble, config.seed)
    compile_model(model, config.optimizer)
    for epoch in range(config.epochs):
        passes = [
            read_split(data_dir, schema, "train", config.batch_size, (seed, epoch))
            for seed in member_seeds(config.seed, config.ensemble)
        ]
        model.fit(side_by_side(passes), verbose=0, shuffle=False)
    held_out = read_split(data_dir, schema, split, EVALUATION_BATCH_SIZE)
    measures = [
        evaluate(probabilities_of(scorer, held_out), held_out)
        for scorer in (model, *getattr(model, "members", ()))
    ]
    print(
        f"{config.model.name}, learning rate {config.optimizer.learning_rate:g}, seed "
        f"{config.seed}: {split} "
        + ", ".join(
            f"AUC {run.auc:.4f} log loss {run.log_loss:.4f}" for run in measures
        ),
        flush=True,
    )
    return measures


def main() -> None:
    command = parse(SmallDataCommand, "benchmarks.small_data")
    columns = ("model", "learning rate", "AUC", "log loss", "norm. entropy")
    rows = list(measure(command))
    print(f"\n{markdown(columns, rows)}")


if __name__ == "__main__":
    run_command(main)
