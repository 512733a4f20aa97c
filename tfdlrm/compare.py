"""`python -m tfdlrm.compare`: models and optimizers on one data set, in one report."""

from pathlib import Path
from typing import TYPE_CHECKING

from tfdlrm.base.command_line import parse, run_command
from tfdlrm.comparison.description import describe_training
from tfdlrm.comparison.preconditions import (
    check_splits,
    keep_report,
    keep_to_one_data_set,
)
from tfdlrm.comparison.settings import CompareCommand
from tfdlrm.comparison.training import runs_of
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents

if TYPE_CHECKING:
    from tfdlrm.metrics.binary import BinaryMetrics


def compare(command: CompareCommand) -> Path:
    """Train all runs that are not finished, and write the report.

    Returns:
        Path of `report.html`.

    Raises:
        InputError: If a model, the data set or a run cannot be used.
    """
    schema = with_contents(FeatureSchema.load(command.data_dir), command.data_dir)
    check_splits(command, schema)
    keep_to_one_data_set(command.output, schema)
    keep_report(command)
    runs = [runs_of(command, schema, contender) for contender in command.contenders]

    from tfdlrm.comparison.report import write_comparison
    from tfdlrm.comparison.scoring import with_scores

    baselines = _baselines(command, schema, runs[0][0].split)
    labels = None
    if len(command.seeds) > 1 and len(runs) > 1:
        print("Scoring the rows to compare on", flush=True)
        labels, runs = with_scores(command.data_dir, runs, command.output)
    how = describe_training(command, schema)
    return write_comparison(
        command.output, runs, len(command.seeds), how, baselines, labels
    )


def _baselines(
    command: CompareCommand, schema: FeatureSchema, split: str
) -> "dict[str, BinaryMetrics]":
    """Return the measures of simple models on the rows of a split."""
    from tfdlrm.baselines.fitted import kept_baselines
    from tfdlrm.baselines.measures import measure_baselines

    path = command.output / "baselines.npz"
    baselines = kept_baselines(path, command.data_dir, schema)
    return measure_baselines(baselines, command.data_dir, schema, [split])[split]


def main() -> None:
    report = compare(parse(CompareCommand, "tfdlrm.compare"))
    print(f"\nReport: {report}")


if __name__ == "__main__":
    run_command(main)
