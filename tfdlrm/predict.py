"""`python -m tfdlrm.predict`: click probabilities of raw rows."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipelines import criteo
from pipelines.raw import RawFile
from pipelines.vocabulary import IdTable, encode_categories, load_vocabularies
from tfdlrm.command_line import parse, run_command
from tfdlrm.errors import InputError

if TYPE_CHECKING:
    from tfdlrm.serving.saved_model import Scorer


@dataclass(frozen=True)
class PredictCommand:
    """Score raw Criteo rows, with or without a label, with an exported model.

    Args:
        model: SavedModel directory, such as saved_models/dlrm/1, or the directory of
            its versions for the newest.
        input: Raw TSV file, plain or gzip. Rows may lack the label.
        output: CSV file to write: one probability a row, in the order of the input.
        batch_size: Rows scored at once.
    """

    model: Path
    input: Path
    output: Path
    batch_size: int = 8192

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}, expected >= 1")


def predict(command: PredictCommand) -> int:
    """Write `command.output`, complete or not at all.

    Returns:
        The number of rows scored.

    Raises:
        InputError: If the model or a row of the input cannot be used.
    """
    rows = RawFile(command.input)

    from tfdlrm.serving.saved_model import load_scorer

    scorer = load_scorer(command.model)
    tables = load_vocabularies(scorer.extra_directory, scorer.schema)
    aside = command.output.with_name(f".{command.output.name}.partial")
    num_rows = 0
    try:
        with aside.open("wb") as file:
            file.write(b"probability\n")
            for chunk in rows:
                for frame in chunk.iter_slices(command.batch_size):
                    scored = pl.DataFrame(
                        {"probability": _score(scorer, tables, frame)}
                    )
                    scored.write_csv(file, include_header=False)
                num_rows += chunk.height
        aside.replace(command.output)
    except OSError as error:
        raise InputError(f"{command.output} cannot be written: {error}") from None
    finally:
        aside.unlink(missing_ok=True)
    return num_rows


def _score(
    scorer: "Scorer", tables: Sequence[IdTable], frame: pl.DataFrame
) -> np.ndarray:
    """Probabilities `(rows,)` of raw rows, by the transforms of training."""
    schema = scorer.schema
    dense = frame.select(criteo.dense_value(name) for name in schema.dense_features)
    names = [feature.name for feature in schema.categorical_features]
    probabilities = scorer(
        {
            "dense_features": dense.to_numpy(),
            "categorical_features": encode_categories(frame, names, tables),
        }
    )
    return probabilities.numpy().ravel()


def main() -> None:
    command = parse(PredictCommand, "tfdlrm.predict")
    start = time.perf_counter()
    num_rows = predict(command)
    rate = num_rows / (time.perf_counter() - start)
    print(f"Scored {num_rows:,} rows ({rate:,.0f} rows/s): {command.output}")


if __name__ == "__main__":
    run_command(main)
