"""`python -m benchmarks.published`: models on Frappe_x1 next to published results."""

import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from benchmarks.laboratory import machine
from benchmarks.laboratory.table import markdown
from benchmarks.runs.recipe import Reached, train_recipe
from pipelines.prepare import prepare
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import InputError, require
from tfdlrm.comparison.runs import Spread
from tfdlrm.config import PrepareConfig, TrainConfig

CONFIGS = Path(__file__).parents[1] / "configs"
COLUMNS = CONFIGS / "columns" / "frappe_x1.yaml"

PUBLISHED = {
    "dlrm": (0.9840, 0.1444),
    "dcn_v2": (0.9845, 0.1491),
    "deepfm": (0.9842, 0.1482),
    "mlp": (0.9833, 0.1622),
    "fm": (0.9671, 0.2065),
    "logistic_regression": (0.9356, 0.3076),
}
"""AUC and log loss on the test rows, by https://openbenchmark.github.io/BARS."""

ABLATION = {
    "the recipe": "",
    "no batch normalization": "--model.normalization null",
    "no dropout": "--model.dropout 0",
    "no L2": "--optimizer.table_l2 0",
    "L2 of the rows that a batch looks up only": "--optimizer.table_l2 0 "
    "--model.embedding_l2 0.05",
    "a constant learning rate": "--optimizer.decay_steps 0 "
    "--optimizer.decay_start_step 0",
    "vectors that start in ± 1 / sqrt(vocabulary size)": "--model.initial_bound null",
    "dot products in place of the vectors": "--model.interaction dot",
}
"""Pieces of the DLRM's recipe that are left out, one at a time, and how."""

FILES = {"train": "train", "validation": "valid", "test": "test"}
ENDINGS = (".csv", ".csv.gz", ".csv.zst")


@dataclass(frozen=True)
class PublishedCommand:
    """Train every model of configs/frappe_x1_*.yaml, next to published results.

    Each run is one of `tfdlrm.train`, in this process. A run that is finished in
    work_dir is not trained again.

    Args:
        data: Directory of the published split: train.csv, valid.csv and, if it is
            there, test.csv, each plain or with the ending .gz or .zst.
        work_dir: Directory for the data set and the runs.
        models: Models to train, by the names of their files.
        seeds: Seeds of initial weights and order of rows.
        ablation: Whether to train the DLRM without each piece of its recipe instead.
    """

    data: Path
    work_dir: Path = Path("runs/published")
    models: tuple[str, ...] = tuple(PUBLISHED)
    seeds: tuple[int, ...] = (0, 1, 2)
    ablation: bool = False

    def __post_init__(self) -> None:
        require(len(self.seeds) > 0, "seeds", self.seeds, "one or more")
        are_known = len(self.models) > 0 and set(self.models) <= set(PUBLISHED)
        expected = f"one or more of {', '.join(PUBLISHED)}"
        require(are_known, "models", self.models, expected)


def split_files(directory: Path) -> dict[str, Sequence[Path]]:
    """Return the file of each split, for `pipelines.prepare`.

    Raises:
        InputError: If there are no training or no validation rows.
    """
    files: dict[str, Sequence[Path]] = {}
    for split, stem in FILES.items():
        paths = [directory / f"{stem}{ending}" for ending in ENDINGS]
        path = next(filter(Path.is_file, paths), None)
        if path is not None:
            files[split] = (path,)
        elif split != "test":
            names = " or ".join(path.name for path in paths)
            raise InputError(
                f"{directory} has no {names}: give --data the published "
                "files of Frappe_x1"
            )
    return files


def measure(command: PublishedCommand) -> Iterator[tuple[str, list[Reached]]]:
    """Train, and yield each model, or what is left out, with its runs by seed."""
    data_dir = command.work_dir / "data"
    settings = PrepareConfig(columns=COLUMNS, min_frequency=1)
    with redirect_stdout(io.StringIO()):
        prepare((), data_dir, settings, split_files(command.data))
    for name, folder, recipe in _recipes(command):
        runs = []
        for seed in command.seeds:
            run = train_recipe(
                replace(
                    recipe,
                    data_dir=data_dir,
                    run_dir=command.work_dir / "runs" / f"{folder}-{seed}",
                    export_dir=command.work_dir / "models" / f"{folder}-{seed}",
                    seed=seed,
                )
            )
            print(f"{name}, seed {seed}: {run}", flush=True)
            runs.append(run)
        yield name, runs


def _recipes(command: PublishedCommand) -> Iterator[tuple[str, str, TrainConfig]]:
    """Yield name, name of the runs and settings of all that is to be trained."""
    if not command.ablation:
        for model in command.models:
            yield model, model, _recipe(model)
        return
    for number, (name, changes) in enumerate(ABLATION.items()):
        folder = f"dlrm-without-{number}" if changes else "dlrm"
        yield name, folder, _recipe("dlrm", changes.split())


def _recipe(model: str, changes: Sequence[str] = ()) -> TrainConfig:
    path = CONFIGS / f"frappe_x1_{model}.yaml"
    return parse(TrainConfig, "tfdlrm.train", ["--config", str(path), *changes])


Results = Sequence[tuple[str, Sequence[Reached]]]


def table(results: Results) -> str:
    """Return the table: means over seeds, and their difference to what is published.

    The published results are of the test rows; without these the validation rows are
    compared with them. Times are those of training with validation; the first is until
    the validation rows have the published AUC, in all runs.
    """
    splits = _splits(results)
    header = ["model", *_measures(splits), "published AUC", "published log loss"]
    header += ["AUC - published", "log loss - published", "s to published AUC"]
    rows = []
    for model, runs in results:
        published = PUBLISHED[model]
        times = [run.seconds_to(published[0]) for run in runs]
        arrived = [time for time in times if time is not None]
        rows.append(
            [
                model,
                *_cells(runs, splits),
                *(f"{value:.4f}" for value in published),
                *_differences(runs, splits[-1], published),
                f"{fmean(arrived):.0f}" if arrived == times else "-",
                *_lengths(runs),
            ]
        )
    return markdown([*header, "epochs", "s"], rows)


def ablation_table(results: Results) -> str:
    """Return the table of what each piece of the recipe brings."""
    splits = _splits(results)
    whole = _means(results[0][1], splits[-1])
    header = ["DLRM", *_measures(splits), "AUC - recipe", "log loss - recipe"]
    rows = [
        [
            name,
            *_cells(runs, splits),
            *_differences(runs, splits[-1], whole),
            *_lengths(runs),
        ]
        for name, runs in results
    ]
    return markdown([*header, "epochs", "s"], rows)


def _splits(results: Results) -> list[str]:
    has_test = all(run.test for _, runs in results for run in runs)
    return ["validation", "test"] if has_test else ["validation"]


def _measures(splits: Sequence[str]) -> list[str]:
    return [f"{split} {name}" for split in splits for name in ("AUC", "log loss")]


def _cells(runs: Sequence[Reached], splits: Sequence[str]) -> list[str]:
    columns = [
        values
        for split in splits
        for values in zip(*(getattr(run, split) for run in runs), strict=True)
    ]
    return [f"{Spread.of(values):.4f}" for values in columns]


def _means(runs: Sequence[Reached], split: str) -> tuple[float, float]:
    aucs, losses = zip(*(getattr(run, split) for run in runs), strict=True)
    return fmean(aucs), fmean(losses)


def _differences(
    runs: Sequence[Reached], split: str, others: tuple[float, float]
) -> list[str]:
    means = _means(runs, split)
    return [f"{mean - other:+.4f}" for mean, other in zip(means, others, strict=True)]


def _lengths(runs: Sequence[Reached]) -> list[str]:
    """Return the epochs of the weights that are kept, and the seconds of training."""
    epochs, seconds = (run.epochs for run in runs), (run.seconds for run in runs)
    return [f"{fmean(epochs):.1f}", f"{fmean(seconds):.0f}"]


def main() -> None:
    command = parse(PublishedCommand, "benchmarks.published")
    results = list(measure(command))
    text = ablation_table(results) if command.ablation else table(results)
    print(f"\n{machine.describe()}\n\n{text}")


if __name__ == "__main__":
    run_command(main)
