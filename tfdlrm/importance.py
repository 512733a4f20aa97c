"""`python -m tfdlrm.importance`: how much an exported model relies on each column."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdlrm.base import directories, storage
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.devices import Device, use_device
from tfdlrm.base.errors import InputError, require
from tfdlrm.data.schema import SPLITS, FeatureSchema

if TYPE_CHECKING:
    from tfdlrm.metrics.permutation import Importance


@dataclass(frozen=True)
class ImportanceCommand:
    """Shuffle each column of held-out rows, and report how much worse the model gets.

    Writes importance.json, importance.md and importance.png.

    Args:
        model: SavedModel directory, such as saved_models/dlrm/1, or the directory of
            its versions for the newest.
        data_dir: Data set directory written by `pipelines.prepare`.
        output: Directory to write the files into.
        split: Split to use; null means the last split held out from training that has
            rows.
        rows: Rows of the split to use, chosen at random; they are held in memory.
        repeats: Number of times that each column is shuffled, for the spread.
        seed: Seed of the choice of rows and of the shuffling.
        device: Device that computes: `cpu` leaves a GPU to training, and takes larger
            models; `gpu` is for many rows.
    """

    model: Path
    data_dir: Path
    output: Path = Path("importance")
    split: str | None = None
    rows: int = 50_000
    repeats: int = 5
    seed: int = 0
    device: Device = "cpu"

    def __post_init__(self) -> None:
        storage.require_local("output", self.output)
        require(self.rows >= 1, "rows", self.rows, ">= 1")
        require(self.repeats >= 2, "repeats", self.repeats, ">= 2, for a spread")
        require(self.seed >= 0, "seed", self.seed, ">= 0")


def importance(command: ImportanceCommand) -> list["Importance"]:
    """Measure, print the table and write the files.

    Returns:
        The importance of each column, in the order of the schema.

    Raises:
        InputError: If the model, the data set or the split cannot be used.
    """
    schema = FeatureSchema.load(command.data_dir)
    split = command.split or next(iter(reversed(schema.held_out_splits)), None)
    if split not in SPLITS:
        raise InputError(
            f"split is {split!r}, expected one of {', '.join(SPLITS)} that has rows"
        )

    from tfdlrm.data.reading import damage_named, read_split
    from tfdlrm.exporting.scorer import check_columns, load_scorer
    from tfdlrm.metrics.permutation import (
        as_table,
        measure,
        permutation_importances,
        sample_rows,
    )
    from tfdlrm.metrics.splits import EVALUATION_BATCH_SIZE

    scorer = load_scorer(command.model)
    check_columns(scorer.schema, schema, scorer.path, command.data_dir)
    batches = read_split(command.data_dir, schema, split, EVALUATION_BATCH_SIZE)
    with damage_named(command.data_dir, schema):
        rows = sample_rows(batches, schema.num_rows(split), command.rows, command.seed)
    if len(set(rows.labels)) < 2:
        raise InputError(
            f"the {split} rows of {command.data_dir} have labels all alike: there is "
            "no AUC to lose"
        )
    directories.make_directory("output", command.output)
    auc, log_loss = measure(scorer, rows)
    importances = permutation_importances(
        scorer, rows, schema, command.repeats, command.seed
    )
    facts = {
        "model": str(scorer.path),
        "data set": f"{command.data_dir} ({schema.dialect} dialect)",
        "rows": f"{len(rows.labels):,} of {schema.num_rows(split):,} {split} rows",
        "repeats": command.repeats,
        "seed": command.seed,
        "AUC": round(auc, 4),
        "log loss": round(log_loss, 4),
    }
    table = as_table(importances)
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    print(f"\n{table}")
    _write(command.output, facts, table, importances)
    return importances


def _write(
    directory: Path,
    facts: dict[str, Any],
    table: str,
    importances: list["Importance"],
) -> None:
    facts_list = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    text = (
        f"# Importance of columns\n\n{facts_list}\n\nMean and standard deviation over "
        f"repeats of what the model loses when a column is shuffled.\n\n{table}\n"
    )

    from tfdlrm.metrics.permutation import plot_importances

    picture = directory / "importance.png"
    if plot_importances(importances, picture):
        text += f"\n![What shuffling each column costs]({picture.name})\n"
    else:
        picture.unlink(missing_ok=True)  # an old one would show other columns
    values = {**facts, "columns": [asdict(column) for column in importances]}
    storage.replace_text(directory / "importance.md", text)
    storage.replace_json(directory / "importance.json", values)
    print(f"\nReport: {directory / 'importance.md'}")


def main() -> None:
    command = parse(ImportanceCommand, "tfdlrm.importance")
    use_device(command.device)
    importance(command)


if __name__ == "__main__":
    run_command(main)
