"""Score the rows by which models are compared; run in a process of its own."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tfdlrm.base import storage
from tfdlrm.base.child_process import error_line, run_in_process
from tfdlrm.base.command_line import parse, run_command, to_yaml
from tfdlrm.base.devices import use_device
from tfdlrm.base.errors import InputError
from tfdlrm.comparison.runs import FinishedRun

LABELS = "labels"


@dataclass(frozen=True)
class ScoreRuns:
    """Score a split of a data set with the models of several runs.

    Args:
        data_dir: The data set.
        split: The split.
        names: Names of the runs.
        models: Directory of the versions of each.
        output: NumPy file to write: the labels, and the probabilities by run.
    """

    data_dir: Path
    split: str
    names: tuple[str, ...]
    models: tuple[Path, ...]
    output: Path


def with_scores(
    data_dir: Path, contenders: list[list[FinishedRun]], folder: Path
) -> tuple[np.ndarray, list[list[FinishedRun]]]:
    """Return the labels of the rows to compare on, and the runs with their scores.

    Args:
        data_dir: The data set.
        contenders: For each model and optimizer, one run a seed.
        folder: Directory for the scores.

    Raises:
        InputError: If a model cannot be loaded.
    """
    runs = {_name(run): run for group in contenders for run in group}
    split = contenders[0][0].split
    models = tuple(_versions(run) for run in runs.values())
    output = folder / "scores.npz"
    command = ScoreRuns(data_dir, split, tuple(runs), models, output)
    job = folder / "scores.yaml"
    storage.replace_text(job, to_yaml(command))
    message = error_line(run_in_process("tfdlrm.comparison.scoring", job))
    if message is not None:
        raise InputError(message)
    with np.load(output) as arrays:
        labels = arrays[LABELS]
        scored = [
            [replace(run, scores=arrays[_name(run)]) for run in group]
            for group in contenders
        ]
    return labels, scored


def score_runs(command: ScoreRuns) -> None:
    """Write the labels and the probabilities.

    Raises:
        InputError: If a model or the data set cannot be used.
    """
    from tfdlrm.data.schema import FeatureSchema
    from tfdlrm.exporting.scorer import load_scorer
    from tfdlrm.metrics.splits import score_splits

    schema = FeatureSchema.load(command.data_dir)
    arrays: dict[str, np.ndarray] = {}
    for name, model in zip(command.names, command.models, strict=True):
        scores = score_splits(
            load_scorer(model), command.data_dir, schema, [command.split]
        )
        arrays[LABELS], arrays[name] = scores[command.split]
    with (
        storage.whole(command.output) as temporary,
        temporary.open("wb") as file,
    ):
        np.savez(file, **arrays)


def _name(run: FinishedRun) -> str:
    assert run.config.run_dir is not None
    return run.config.run_dir.name


def _versions(run: FinishedRun) -> Path:
    return run.config.versions_dir


def main() -> None:
    use_device("cpu")
    score_runs(parse(ScoreRuns, "tfdlrm.comparison.scoring"))


if __name__ == "__main__":
    run_command(main)
