"""Fit the transforms of number columns to the training rows, in any order of pieces."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pipelines.ids.earlier import Earlier
from pipelines.ids.number_values import NumberValues
from pipelines.logs.columns import NUMBER, Columns
from pipelines.stages.journal import Journal
from pipelines.stages.spill import Spill
from tfdlrm.base.parallel import map_in_order
from tfdlrm.base.plain_text import visible
from tfdlrm.base.progress import stage
from tfdlrm.data.number_features import NumberFeature
from tfdlrm.data.number_statistics import NumberStatistics

PieceStatistics = Callable[[int], NumberStatistics]
MapPieces = Callable[[PieceStatistics, range], Iterable[NumberStatistics]]
"""Returns the results of a function for numbers of pieces, or sums of them."""


@dataclass(frozen=True)
class _Fitting:
    """A column of numbers, within the limits of the features that share them.

    Args:
        column: The column.
        clip: The limits.
    """

    column: str
    clip: tuple[float | None, float | None] | None


def with_numbers(
    spill: Spill,
    columns: Columns,
    num_rows: int,
    journal: Journal,
    earlier: Earlier | None = None,
    map_pieces: MapPieces = map_in_order,
) -> Spill:
    """Return spilled rows whose features with a recipe are computed as they are read.

    Args:
        spill: The typed rows, training rows first.
        columns: The columns of the log.
        num_rows: Number of training rows.
        journal: The finished steps, also of an earlier run.
        earlier: What the data set extends, whose fitted numbers stay.
        map_pieces: Reads the pieces.
    """
    if not columns.recipes:
        return spill
    if earlier is not None:
        features = earlier.schema.transforms
    else:
        features = _fit(spill, columns, num_rows, journal, map_pieces)
    return replace(spill, numbers=NumberValues.of(columns, features))


def _fit(
    spill: Spill,
    columns: Columns,
    num_rows: int,
    journal: Journal,
    map_pieces: MapPieces,
) -> dict[str, NumberFeature]:
    features = {
        name: NumberFeature.from_json(recipe)
        for name, recipe in columns.recipes.items()
    }
    fitted = {
        entry["name"]: NumberFeature.from_json(entry["feature"])
        for entry in journal.entries("fitted")
    }
    lines: list[str] = []
    groups = _groups(features)
    num_pieces = sum(start < num_rows for start in spill.starts[:-1])
    with stage("fit transforms", len(groups)) as advance:
        for num_done, names in enumerate(groups.values(), start=1):
            unfitted = [name for name in names if name not in fitted]
            if unfitted:
                feature = features[unfitted[0]]
                counts_values = any(
                    features[name].transform.counts_values for name in unfitted
                )
                of_piece = partial(
                    _piece_statistics, spill, num_rows, feature, counts_values
                )
                statistics = NumberStatistics.sum(
                    map_pieces(of_piece, range(num_pieces))
                )
                lines += _problems(feature.column, unfitted, statistics)
                for name in unfitted:
                    fitted[name] = features[name].fit(statistics)
                    entry = {"name": name, "feature": fitted[name].to_json()}
                    journal.add("fitted", entry)
            advance(num_done, num_rows * num_done // len(groups))
    for line in lines:
        print(visible(line))
    return {name: fitted.get(name, feature) for name, feature in features.items()}


def _problems(
    column: str, names: Sequence[str], statistics: NumberStatistics
) -> Iterator[str]:
    """Yield a line if a column of training rows does not distinguish rows."""
    features = " and ".join(names)
    if not statistics.numbers:
        yield (
            f"{column} has no number in the {statistics.rows:,} training rows: nothing "
            f"can be learned from {features}"
        )
    elif statistics.low == statistics.high:
        yield (
            f"{column} is {statistics.low:.6g} in all training rows that have a number "
            f"there: nothing can be learned from {features}"
        )


def _groups(features: Mapping[str, NumberFeature]) -> dict[_Fitting, list[str]]:
    """Return the features that are to be fitted, by the numbers that they share."""
    groups: dict[_Fitting, list[str]] = {}
    for name, feature in features.items():
        if not feature.is_fitted:
            fitting = _Fitting(feature.column, feature.clip)
            groups.setdefault(fitting, []).append(name)
    return groups


def _piece_statistics(
    spill: Spill,
    num_rows: int,
    feature: NumberFeature,
    counts_values: bool,
    number: int,
) -> NumberStatistics:
    """Return the statistics of the training rows of a piece."""
    name = NUMBER + feature.column
    values = spill.read(number, [name])[name].head(num_rows - spill.starts[number])
    numbers = feature.clipped(values.fill_null(np.nan).to_numpy())
    return NumberStatistics.of(numbers, counts_values)
