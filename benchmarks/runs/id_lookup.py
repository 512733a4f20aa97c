"""Time the table from values to ids next to other ways to look ids up."""

import time
from collections.abc import Callable

import numpy as np
import polars as pl

from benchmarks.laboratory.table import Cell, markdown
from pipelines.ids.vocabulary import IdTable
from tfdlrm.data.schema import UNKNOWN_ID

PIECE_ROWS = 70_000
"""Roughly the rows of a piece, whose values of a column are looked up at once."""

_NUM_PIECES = 8

Lookup = Callable[[pl.Series], np.ndarray]


def lookup_table(vocabulary_sizes: tuple[int, ...]) -> str:
    """Measure the CPU time of a lookup in each way, and return a Markdown table."""
    rows: list[list[Cell]] = []
    for size in vocabulary_sizes:
        vocabulary, pieces = _draw(size)
        for name, make in WAYS.items():
            start = time.process_time()
            lookup = make(vocabulary)
            lookup(pieces[0])
            seconds_to_build = time.process_time() - start
            start = time.process_time()
            for piece in pieces:
                lookup(piece)
            seconds = time.process_time() - start
            nanoseconds = seconds / (_NUM_PIECES * PIECE_ROWS) * 1e9
            rows.append([size, name, seconds_to_build, nanoseconds])
    return markdown(["values", "way", "s to build", "ns a lookup"], rows)


def _draw(size: int) -> tuple[pl.DataFrame, list[pl.Series]]:
    """Return a vocabulary of random values, and pieces in which few are frequent."""
    rng = np.random.default_rng(0)
    values = np.unique(rng.integers(2**32, size=size, dtype=np.uint32))
    rng.shuffle(values)
    ids = np.arange(2, len(values) + 2, dtype=np.int32)
    ranks = (len(values) * rng.random((_NUM_PIECES, PIECE_ROWS)) ** 3).astype(int)
    pieces = [pl.Series("value", values[of_piece]) for of_piece in ranks]
    return pl.DataFrame({"value": values, "id": ids}), pieces


def _by_join(vocabulary: pl.DataFrame) -> Lookup:
    def lookup(values: pl.Series) -> np.ndarray:
        with_ids = values.to_frame().join(
            vocabulary, on="value", how="left", maintain_order="left"
        )
        return with_ids["id"].fill_null(UNKNOWN_ID).to_numpy()

    return lookup


def _by_binary_search(vocabulary: pl.DataFrame) -> Lookup:
    in_order = vocabulary.sort("value")
    values_in_order, ids = in_order["value"].to_numpy(), in_order["id"].to_numpy()

    def lookup(values: pl.Series) -> np.ndarray:
        positions = np.searchsorted(values_in_order, values.to_numpy())
        positions = np.minimum(positions, len(ids) - 1)
        is_known = values_in_order[positions] == values.to_numpy()
        return np.where(is_known, ids[positions], UNKNOWN_ID)

    return lookup


WAYS: dict[str, Callable[[pl.DataFrame], Lookup]] = {
    "IdTable, an index of pandas": lambda vocabulary: IdTable(vocabulary).ids,
    "polars.DataFrame.join": _by_join,
    "numpy.searchsorted": _by_binary_search,
}
