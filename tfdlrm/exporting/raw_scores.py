"""Raw rows with labels: scored by an exported model, or a sample of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from pipelines.logs.columns import Columns
from pipelines.logs.inputs import Inputs
from pipelines.logs.opening import open_all
from tfdlrm.data.unknown_values import UnknownValues
from tfdlrm.exporting.raw_rows import RawFeatures
from tfdlrm.metrics.splits import EVALUATION_BATCH_SIZE

if TYPE_CHECKING:
    from tfdlrm.exporting.scorer import Scorer


@dataclass(frozen=True)
class ScoredLog:
    """The rows of a log as a model scores them.

    Args:
        labels: Labels, `(rows,)`.
        probabilities: Probabilities, `(rows,)`.
        unknown: The counts of values that have no id in the model.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    unknown: UnknownValues


@dataclass(frozen=True)
class LogSample:
    """Some rows of a log, as a model takes them.

    Args:
        features: Inputs of the model, all rows in one batch.
        labels: Labels, float32 `(rows,)`.
        num_rows: Number of rows of the whole log.
        unknown: The counts of values of the sample that have no id in the model.
    """

    features: dict[str, Any]
    labels: np.ndarray
    num_rows: int
    unknown: UnknownValues


def score_log(
    scorer: "Scorer", path: Path, on_bad_row: Literal["stop", "skip"] = "stop"
) -> ScoredLog:
    """Score a log by the vocabularies and transforms of the model.

    Args:
        scorer: The model.
        path: A raw file with labels, or a folder of such files, in the format that the
            model's data set was prepared from. Rows may lack the column that defined
            the split.
        on_bad_row: The effect of a malformed row: `stop` raises an error that names
            it, `skip` leaves it out.

    Raises:
        InputError: If a file cannot be read, has a bad row, or has no labels.
    """
    features_of = RawFeatures.load(scorer.extra_directory, scorer.schema)
    labels, probabilities = [], []
    for chunk in _labelled_frames(path, features_of.columns, on_bad_row):
        labels.append(chunk[features_of.columns.label].to_numpy())
        for frame in chunk.iter_slices(EVALUATION_BATCH_SIZE):
            probabilities.append(scorer(features_of(frame)).numpy().ravel())
    return ScoredLog(
        np.concatenate(labels), np.concatenate(probabilities), features_of.unknown
    )


def sample_log(scorer: "Scorer", path: Path, sample_size: int, seed: int) -> LogSample:
    """Read a log once and keep a random sample of its rows; each is equally likely.

    Args:
        scorer: The model, whose vocabularies and transforms the sample is passed
            through.
        path: As for `score_log`.
        sample_size: Rows to sample; all rows if there are fewer.
        seed: Seed of the choice.

    Raises:
        InputError: As for `score_log`.
    """
    features_of = RawFeatures.load(scorer.extra_directory, scorer.schema)
    columns = features_of.columns
    rng = np.random.default_rng(seed)
    num_rows = 0
    sample: pl.DataFrame | None = None
    for chunk in _labelled_frames(path, columns):
        # The rows with the smallest random numbers are a sample of those read so far.
        ranks = pl.Series(_RANK, rng.random(chunk.height))
        numbers = pl.int_range(num_rows, num_rows + chunk.height, eager=True)
        num_rows += chunk.height
        chunk = chunk.with_columns(ranks, numbers.alias(_NUMBER))
        rows = chunk if sample is None else pl.concat([sample, chunk])
        sample = rows.bottom_k(sample_size, by=_RANK)
    assert sample is not None  # a log without rows is refused when it is opened
    sample = sample.sort(_NUMBER).drop(_RANK, _NUMBER)
    return LogSample(
        features_of(sample),
        sample[columns.label].to_numpy().astype(np.float32),
        num_rows,
        features_of.unknown,
    )


_RANK, _NUMBER = "\0rank", "\0number"
"""Names that no column of a log has."""


def _labelled_frames(
    path: Path, columns: Columns, on_bad_row: Literal["stop", "skip"] = "stop"
) -> Iterator[pl.DataFrame]:
    # Rows need no day to be scored.
    columns = replace(columns, days_by=None)
    for file in open_all(Inputs.of([path]), columns, on_bad_row):
        yield from file.frames()
