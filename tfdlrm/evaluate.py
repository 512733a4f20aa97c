"""`python -m tfdlrm.evaluate`: measures of an exported model on a data set."""

from dataclasses import dataclass
from pathlib import Path

from tfdlrm import storage
from tfdlrm.command_line import parse, run_command
from tfdlrm.errors import InputError
from tfdlrm.output_file import check_output, messages_apart, output_file
from tfdlrm.schema import FeatureSchema


@dataclass(frozen=True)
class EvaluateCommand:
    """Print accuracy, AUC, log loss, normalized entropy and calibration per split.

    Args:
        model: SavedModel directory, such as saved_models/dlrm/1, or the directory of
            its versions for the newest.
        data_dir: Data set directory written by `pipelines.prepare`.
        splits: Which splits; null means those held out from training that have rows.
        json: File that the measures also go to; `-` for standard output, where the
            table then goes to standard error.
    """

    model: Path
    data_dir: Path
    splits: tuple[str, ...] | None = None
    json: Path | None = None


def evaluate_model(command: EvaluateCommand) -> None:
    """Print the table and, when asked for, write the JSON.

    Raises:
        InputError: If the model, the data set or a split of it cannot be used.
    """
    schema = FeatureSchema.load(command.data_dir)
    if command.json is not None:
        check_output(
            "json", command.json, model=command.model, data_dir=command.data_dir
        )
        if not command.json.parent.is_dir():
            raise InputError(f"{command.json.parent} is no directory: make it first")
    if not command.splits and not schema.held_out_splits:
        raise InputError(
            f"{command.data_dir} holds out no rows: prepare it with some, or name "
            "--splits train"
        )

    from tfdlrm.evaluation import (
        against_reachable,
        as_table,
        check_columns,
        measures_by_split,
        score_splits,
    )
    from tfdlrm.metrics import binary_metrics
    from tfdlrm.serving.saved_model import load_scorer

    scorer = load_scorer(command.model)
    check_columns(scorer.schema, schema, scorer.path, command.data_dir)
    scored = score_splits(scorer, command.data_dir, schema, command.splits)
    metrics = {split: binary_metrics(*found) for split, found in scored.items()}
    print(f"{scorer.path} on {command.data_dir} ({schema.dialect} dialect)\n")
    print(as_table(metrics))
    if schema.reachable:
        print(f"\n{against_reachable(metrics, schema.reachable)}")
    if command.json is not None:
        measures = measures_by_split(metrics, schema.dialect)
        with output_file("json", command.json) as file:
            file.write(storage.as_json(measures))


def main() -> None:
    command = parse(EvaluateCommand, "tfdlrm.evaluate")
    with messages_apart(command.json):
        evaluate_model(command)


if __name__ == "__main__":
    run_command(main)
