"""Scores of raw rows with labels by an exported model."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.logs.inputs import Inputs
from pipelines.logs.opening import open_all
from tfdlrm.exporting.raw_rows import RawFeatures
from tfdlrm.metrics.splits import EVALUATION_BATCH_SIZE

if TYPE_CHECKING:
    from tfdlrm.exporting.scorer import Scorer


def score_log(scorer: "Scorer", path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Score a log by the vocabularies and transforms of the model.

    Prints the shares of unknown values to standard error.

    Args:
        scorer: The model.
        path: A raw file with labels, or a folder of such files, in the format that the
            model's data set was prepared from. Rows may lack the column that defined
            the split.

    Returns:
        The labels and the model's probabilities, each `(rows,)`.

    Raises:
        InputError: If a file cannot be read, has a bad row, or has no labels.
    """
    features_of = RawFeatures.load(scorer.extra_directory, scorer.schema)
    columns = replace(features_of.columns, days_by=None)
    labels, probabilities = [], []
    for file in open_all(Inputs.of([path]), columns):
        for chunk in file.frames():
            labels.append(chunk[columns.label].to_numpy())
            for frame in chunk.iter_slices(EVALUATION_BATCH_SIZE):
                probabilities.append(scorer(features_of(frame)).numpy().ravel())
    for line in features_of.unknown.report():
        print(line, file=sys.stderr)
    return np.concatenate(labels), np.concatenate(probabilities)
