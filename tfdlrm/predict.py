"""`python -m tfdlrm.predict`: click probabilities of raw rows."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipelines.columns import Columns
from pipelines.dialects import load_tables
from pipelines.logs import open_log
from pipelines.raw import RawFile
from pipelines.vocabulary import Table, encode_categories
from tfdlrm.command_line import parse, run_command
from tfdlrm.errors import InputError

if TYPE_CHECKING:
    from tfdlrm.serving.saved_model import Scorer


@dataclass(frozen=True)
class PredictCommand:
    """Score raw rows, with or without a label, with an exported model.

    Args:
        model: SavedModel directory, such as saved_models/dlrm/1, or the directory of
            its versions for the newest.
        input: Raw file in the format that the model's data set was prepared from.
            Rows may lack the label, and the column that defined the split.
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
    from tfdlrm.serving.saved_model import load_scorer

    scorer = load_scorer(command.model)
    described = scorer.schema.columns
    columns = Columns.from_json(described) if described else Columns.criteo()
    rows: Iterable[pl.DataFrame]
    if columns.is_criteo:
        rows = RawFile(command.input)
    else:
        rows = open_log(command.input, columns, labelled=False)
    tables = load_tables(scorer.extra_directory, scorer.schema)
    aside = command.output.with_name(f".{command.output.name}.partial")
    num_rows = 0
    try:
        with aside.open("wb") as file:
            file.write(b"probability\n")
            for chunk in rows:
                for frame in chunk.iter_slices(command.batch_size):
                    scored = pl.DataFrame(
                        {"probability": _score(scorer, columns, tables, frame)}
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
    scorer: "Scorer", columns: Columns, tables: Sequence[Table], frame: pl.DataFrame
) -> np.ndarray:
    """Probabilities `(rows,)` of raw rows, by the transforms of training."""
    dense = np.zeros((frame.height, 0), np.float32)
    if columns.dense_features:
        numbers = columns.transformed(frame).select(columns.dense_features)
        dense = numbers.to_numpy()
    ids = _ids(columns, tables, frame)
    features = {"dense_features": dense, "categorical_features": ids}
    return scorer(features).numpy().ravel()


def _ids(columns: Columns, tables: Sequence[Table], frame: pl.DataFrame) -> Any:
    """Ids `(rows, features)`, or bags of ids where there are multi-hot columns."""
    width = len(columns.single_hot)
    ids = encode_categories(frame, columns.single_hot, tables[:width])
    if not columns.multi_hot:
        return ids
    import tensorflow as tf

    from tfdlrm.parsing import bags_of, side_by_side

    bags = [
        tf.RaggedTensor.from_row_lengths(
            table.ids(frame[name].explode().drop_nulls()),
            frame[name].list.len().cast(pl.Int32).to_numpy(),
        )
        for name, table in zip(columns.multi_hot, tables[width:], strict=True)
    ]
    return bags_of(*side_by_side(tf.constant(ids), bags))


def main() -> None:
    command = parse(PredictCommand, "tfdlrm.predict")
    start = time.perf_counter()
    num_rows = predict(command)
    rate = num_rows / (time.perf_counter() - start)
    print(f"Scored {num_rows:,} rows ({rate:,.0f} rows/s): {command.output}")


if __name__ == "__main__":
    run_command(main)
