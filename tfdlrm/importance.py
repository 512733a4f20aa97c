"""`python -m tfdlrm.importance`: how much an exported model relies on each column."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdlrm.base import directories, storage
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.devices import Device, use_device
from tfdlrm.base.errors import InputError, require, require_one
from tfdlrm.base.piped_input import as_file
from tfdlrm.base.plain_text import visible
from tfdlrm.data.schema import SPLITS, FeatureSchema
from tfdlrm.data.unknown_values import UnknownValues

if TYPE_CHECKING:
    from tfdlrm.exporting.scorer import Scorer
    from tfdlrm.metrics.permutation import Importance, Rows


@dataclass(frozen=True)
class ImportanceCommand:
    """Shuffle each column of held-out rows, and report how much worse the model gets.

    Writes importance.json, importance.md and importance.png.

    Args:
        model: SavedModel directory, such as saved_models/dlrm/1, or the directory of
            its versions for the newest.
        data_dir: Data set directory written by `pipelines.prepare`.
        output: Directory to write the files into; null means `importance/` and the
            names of the model and its version.
        split: Split of data_dir to use; null means the last split held out from
            training that has rows.
        rows: Rows of the split or of the log to use, chosen at random; they are held in
            memory.
        repeats: Number of times that each column is shuffled, for the spread.
        seed: Seed of the choice of rows and of the shuffling.
        raw: Raw file with labels, or a folder of such files, instead of data_dir. It
            has the format that the model's data set was prepared from; ids come from
            the model's own vocabularies. A pipe, or `-` for standard input, is first
            copied to a temporary file.
        device: Device that computes: `cpu` leaves a GPU to training, and takes larger
            models; `gpu` is for many rows.
    """

    model: Path
    data_dir: Path | None = None
    output: Path | None = None
    split: str | None = None
    rows: int = 50_000
    repeats: int = 5
    seed: int = 0
    raw: Path | None = None
    device: Device = "cpu"

    def __post_init__(self) -> None:
        expected = "a data set directory, or a raw log"
        require_one(expected, data_dir=self.data_dir, raw=self.raw)
        if self.raw is not None and self.split:
            raise InputError("split goes with data_dir: a raw log has none")
        storage.require_local("output", self.output or Path())
        require(self.rows >= 1, "rows", self.rows, ">= 1")
        require(self.repeats >= 2, "repeats", self.repeats, ">= 2, for a spread")
        require(self.seed >= 0, "seed", self.seed, ">= 0")


def importance(command: ImportanceCommand) -> list["Importance"]:
    """Measure, print the table and write the files.

    Returns:
        The importance of each column, in the order of the schema.

    Raises:
        InputError: If the model, the data set, the split or the log cannot be used.
    """
    split = None if command.data_dir is None else _split(command, command.data_dir)

    from tfdlrm.exporting.scorer import load_scorer
    from tfdlrm.metrics.permutation import as_table, measure, permutation_importances

    scorer = load_scorer(command.model)
    sample = (
        _sample_log(command, scorer)
        if split is None
        else _sample_split(command, scorer, split)
    )
    rows = sample.rows
    if len(set(rows.labels)) < 2:
        raise InputError(
            f"{sample.origin} have labels all alike: there is no AUC to lose"
        )
    model = scorer.path.resolve()
    default = Path("importance") / f"{model.parent.name}-{model.name}"
    output = command.output or default
    directories.make_directory("output", output)
    auc, log_loss = measure(scorer, rows)
    importances = permutation_importances(
        scorer, rows, scorer.schema, command.repeats, command.seed
    )
    facts = {
        "model": str(scorer.path),
        **sample.facts,
        "repeats": command.repeats,
        "seed": command.seed,
        "AUC": round(auc, 4),
        "log loss": round(log_loss, 4),
    }
    table = as_table(importances)
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    print(f"\n{table}")
    _write(output, facts, table, importances, sample.unknown)
    return importances


@dataclass(frozen=True)
class _Sample:
    """The rows to shuffle.

    Args:
        rows: The rows.
        origin: Which rows they are, in words.
        facts: The same for the report, by name.
        unknown: Unknown values of the rows of a log.
    """

    rows: "Rows"
    origin: str
    facts: dict[str, str]
    unknown: UnknownValues | None = None


def _split(command: ImportanceCommand, data_dir: Path) -> str:
    schema = FeatureSchema.load(data_dir)
    split = command.split or next(iter(reversed(schema.held_out_splits)), None)
    if split not in SPLITS:
        raise InputError(
            f"split is {split!r}, expected one of {', '.join(SPLITS)} that has rows"
        )
    return split


def _sample_split(command: ImportanceCommand, scorer: "Scorer", split: str) -> _Sample:
    from tfdlrm.data.reading import damage_named, read_split
    from tfdlrm.exporting.scorer import check_columns
    from tfdlrm.metrics.permutation import sample_rows
    from tfdlrm.metrics.splits import EVALUATION_BATCH_SIZE

    data_dir = command.data_dir
    assert data_dir is not None
    schema = FeatureSchema.load(data_dir)
    check_columns(scorer.schema, schema, scorer.path, data_dir)
    batches = read_split(data_dir, schema, split, EVALUATION_BATCH_SIZE)
    num_rows = schema.num_rows(split)
    with damage_named(data_dir, schema):
        rows = sample_rows(batches, num_rows, command.rows, command.seed)
    return _Sample(
        rows,
        f"the {split} rows of {data_dir}",
        {
            "data set": f"{data_dir} ({schema.dialect} dialect)",
            "rows": f"{len(rows.labels):,} of {num_rows:,} {split} rows",
        },
    )


def _sample_log(command: ImportanceCommand, scorer: "Scorer") -> _Sample:
    import tensorflow as tf

    from tfdlrm.exporting.raw_scores import sample_log
    from tfdlrm.metrics.permutation import Rows

    assert command.raw is not None
    with as_file("raw", command.raw) as path:
        log = sample_log(scorer, path, command.rows, command.seed)
    features = {
        name: values if isinstance(values, tf.RaggedTensor) else tf.constant(values)
        for name, values in log.features.items()
    }
    for line in log.unknown.report():
        print(visible(line), file=sys.stderr)
    return _Sample(
        Rows(features, log.labels),
        f"the rows of {command.raw}",
        {
            "log": f"{command.raw} ({scorer.schema.dialect} dialect)",
            "rows": f"{len(log.labels):,} of {log.num_rows:,} rows",
        },
        log.unknown,
    )


def _write(
    directory: Path,
    facts: dict[str, Any],
    table: str,
    importances: list["Importance"],
    unknown: UnknownValues | None,
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
    if unknown is not None:
        text += f"\nUnknown values of these rows:\n\n{unknown.as_table()}\n"
        values |= unknown.to_json()
    storage.replace_text(directory / "importance.md", text)
    storage.replace_json(directory / "importance.json", values)
    print(f"\nReport: {directory / 'importance.md'}")


def main() -> None:
    command = parse(ImportanceCommand, "tfdlrm.importance")
    use_device(command.device)
    importance(command)


if __name__ == "__main__":
    run_command(main)
