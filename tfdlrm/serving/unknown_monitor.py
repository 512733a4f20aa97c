"""Shares of unknown values in requests, compared with those of the data set."""

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tfdlrm.data.unknown_values import is_far_above

log = logging.getLogger("tfdlrm.serving")

ENOUGH_VALUES = 1000
"""A share of fewer values says little."""


class UnknownMonitor:
    """Counter of unknown values by column; warns once of a column with far too many.

    Args:
        path: Directory of the version, for the warning.
        columns: Names of the columns that are counted.
        usual: Share of unknown values of each column in the data set, where known.
    """

    def __init__(
        self, path: Path, columns: Sequence[str], usual: Mapping[str, float]
    ) -> None:
        self.columns = tuple(columns)
        self._path = path
        self._usual = np.array([usual.get(name, 0.0) for name in columns])
        self._lock = threading.Lock()
        self._unknown = np.zeros(len(columns), np.int64)
        self._values = np.zeros(len(columns), np.int64)
        self._is_reported = np.zeros(len(columns), bool)

    def add(self, unknown: np.ndarray, values: np.ndarray) -> None:
        """Count the values of a request.

        Args:
            unknown: Unknown values of each column.
            values: All values of each column.
        """
        with self._lock:
            self._unknown += unknown
            self._values += values
            is_high = (self._values >= ENOUGH_VALUES) & ~self._is_reported
            is_high &= is_far_above(
                self._unknown / np.maximum(self._values, 1), self._usual
            )
            self._is_reported |= is_high
        for index in np.flatnonzero(is_high):
            log.warning(
                "%s: %.2f%% of the values of column %s are unknown, %.2f%% in its data "
                "set: are they written as in training?",
                self._path,
                100 * self._unknown[index] / self._values[index],
                self.columns[index],
                100 * self._usual[index],
            )
