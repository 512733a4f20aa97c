"""`python -m benchmarks.published`: models on Frappe_x1 next to published results."""

import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

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

FILES = {"train": "train", "validation": "valid", "test": "test"}
ENDINGS = (".csv", ".csv.gz", ".csv.zst")


@dataclass(frozen=True)
class PublishedCommand:
    """Train every model of configs/frappe_x1_*.yaml, next to published results.

    Each run is one of `tfdlrm.train`, in this process. A run that is finished in
    work_dir is not trained again, so give another work_dir after a change.

    Args:
        data: Directory of the published split: train.csv, valid.csv and, if it is
            there, test.csv, each plain or with the ending .gz or .zst.
        work_dir: Directory for the data set and the runs.
        models: Models to train, by the names of their files.
        seeds: Seeds of initial weights and order of rows.
    """

    data: Path
    work_dir: Path = Path("runs/published")
    models: tuple[str, ...] = tuple(PUBLISHED)
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        require(len(self.seeds) > 0, "seeds", self.seeds, "one or more")
        are_known = len(self.models) > 0 and set(self.models) <= set(PUBLISHED)
        expected = f"one or more of {', '.join(PUBLISHED)}"
        require(are_known, "models", self.models, expected)


def split_files(directory: Path) -> dict[str, tuple[Path, ...]]:
    """Return the file of each split, for `pipelines.prepare`.

    Raises:
        InputError: If there are no training or no validation rows.
    """
    files = {}
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
    """Train, and yield each model with what it reached by seed."""
    data_dir = command.work_dir / "data"
    files = split_files(command.data)
    settings = PrepareConfig(columns=COLUMNS, min_frequency=1)
    with redirect_stdout(io.StringIO()):
        prepare((), data_dir, settings, files)
    for model in command.models:
        path = CONFIGS / f"frappe_x1_{model}.yaml"
        recipe = parse(TrainConfig, "tfdlrm.train", ["--config", str(path)])
        runs = []
        for seed in command.seeds:
            name = f"{model}-{seed}"
            run = train_recipe(
                replace(
                    recipe,
                    data_dir=data_dir,
                    run_dir=command.work_dir / "runs" / name,
                    export_dir=command.work_dir / "models" / name,
                    seed=seed,
                )
            )
            print(f"{name}: {run}", flush=True)
            runs.append(run)
        yield model, runs


def table(results: Sequence[tuple[str, Sequence[Reached]]]) -> str:
    """Return the table: means over seeds, and their difference to what is published.

    The published results are of the test rows; without these the validation rows are
    compared with them.
    """
    has_test = all(run.test for _, runs in results for run in runs)
    held_out = ["validation", "test"] if has_test else ["validation"]
    header = ["model"]
    for split in held_out:
        header += [f"{split} AUC", f"{split} log loss"]
    header += ["published AUC", "published log loss", "AUC - published"]
    header += ["log loss - published", "epochs to the best", "s to the best", "s"]
    return markdown(header, [_row(model, runs, held_out) for model, runs in results])


def _row(model: str, runs: Sequence[Reached], held_out: Sequence[str]) -> list[str]:
    cells, means = [model], (0.0, 0.0)
    for split in held_out:
        measures = [getattr(run, split) for run in runs]
        spreads = [Spread.of(values) for values in zip(*measures, strict=True)]
        cells += [f"{spread:.4f}" for spread in spreads]
        means = (spreads[0].mean, spreads[1].mean)
    published = PUBLISHED[model]
    cells += [f"{value:.4f}" for value in published]
    cells += [
        f"{mean - value:+.4f}" for mean, value in zip(means, published, strict=True)
    ]
    times = [(run.best_epoch, run.best_seconds, run.seconds) for run in runs]
    for values, digits in zip(zip(*times, strict=True), (1, 0, 0), strict=True):
        cells.append(f"{Spread.of(values).mean:.{digits}f}")
    return cells


def main() -> None:
    command = parse(PublishedCommand, "benchmarks.published")
    results = list(measure(command))
    print(f"\n{machine.describe()}\n\n{table(results)}")


if __name__ == "__main__":
    run_command(main)
