"""`python -m tfdlrm.predict`: click probabilities of raw rows."""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.logs.kept_columns import select_kept
from pipelines.logs.rows_to_score import RowsToScore
from pipelines.logs.scored_rows import check_keep, scored_rows
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.device_names import holding_device
from tfdlrm.base.devices import Device, use_device
from tfdlrm.base.errors import InputError
from tfdlrm.base.output_file import check_output, messages_apart
from tfdlrm.base.piped_input import as_file
from tfdlrm.base.plain_text import visible
from tfdlrm.exporting.raw_rows import RawFeatures

RENAMED = {"input": "raw", "output": "output_file"}


@dataclass(frozen=True)
class PredictCommand:
    """Score raw rows, with or without a label, with an exported model.

    Args:
        model: SavedModel directory, such as saved_models/dlrm/1, or the directory of
            its versions for the newest.
        raw: Raw file in the format that the model's data set was prepared from, or a
            folder of such files. Rows may lack the label, and the column that defined
            the split. A pipe, or `-` for standard input, is first copied to a
            temporary file.
        output_file: File to write: one probability a row, in the order of the log, as
            text with the log's separator and quotes, or as Parquet if the name ends in
            .parquet; `-` for standard output.
        batch_size: Rows scored at once.
        device: Device that computes: `cpu` leaves a GPU to training, and takes larger
            models; `gpu` is for many rows.
        keep: Columns of the log to write before the probabilities, in this order, such
            as `user,item`; also columns that the model does not take.
    """

    model: Path
    raw: Path
    output_file: Path
    batch_size: int = 8192
    device: Device = "cpu"
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}, expected >= 1")
        check_keep(self.keep)
        check_output("output_file", self.output_file, raw=self.raw, model=self.model)


def predict(command: PredictCommand) -> int:
    """Write `command.output_file`, complete or not at all.

    Returns:
        The number of rows scored.

    Raises:
        InputError: If the model or a row of the log cannot be used.
    """
    with as_file("raw", command.raw) as path:
        return _predict(replace(command, raw=path))


def _predict(command: PredictCommand) -> int:
    from tfdlrm.exporting.scorer import load_scorer

    scorer = load_scorer(command.model)
    features_of = RawFeatures.load(scorer.extra_directory, scorer.schema)
    rows = RowsToScore(command.raw, features_of.columns, kept=command.keep)
    num_rows, is_announced = 0, False
    with scored_rows("output_file", command.output_file, command.keep) as output:
        for chunk in rows:
            for frame in chunk.iter_slices(command.batch_size):
                probabilities = scorer(features_of(frame))
                if not is_announced:
                    device = holding_device(probabilities)
                    print(f"Scoring with {scorer.path} on {device}")
                    is_announced = True
                kept = select_kept(frame, command.keep)
                output.write(kept, probabilities.numpy().ravel(), rows.style)
            num_rows += chunk.height
    for line in features_of.unknown.report():
        print(visible(line), file=sys.stderr)
    return num_rows


def main() -> None:
    command = parse(PredictCommand, "tfdlrm.predict", renamed=RENAMED)
    use_device(command.device)
    start = time.perf_counter()
    with messages_apart(command.output_file):
        num_rows = predict(command)
        rate = num_rows / (time.perf_counter() - start)
        print(f"Scored {num_rows:,} rows ({rate:,.0f} rows/s): {command.output_file}")


if __name__ == "__main__":
    run_command(main)
