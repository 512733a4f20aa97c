"""Format rows as Criteo's tab-separated text, by whole columns."""

import numpy as np

from pipelines.twin.features import NUM_DENSE, Features

# Every field takes three words of four bytes, and zero bytes are dropped at the end, so
# that no field's position in the text has to be computed.
_TAB = int.from_bytes(b"\t", "little")
_TAB_MINUS = int.from_bytes(b"\t-", "little")
_NEWLINE = int.from_bytes(b"\n", "little")
_ZERO = ord("0")
_FIELD_WORDS = 3

MAX_COUNT = 10**8 - 1
"""Largest absolute count that eight digits hold."""


def format_rows(labels: np.ndarray, features: Features) -> bytes:
    """Return the lines of rows: label, I1..I13 and C1..C26, empty where missing.

    Args:
        labels: Shape `(rows,)`, 0 or 1.
        features: The same rows; counts beyond `MAX_COUNT` are cut to it.
    """
    num_fields = NUM_DENSE + len(features.ranks)
    words = np.zeros((len(labels), 2 + _FIELD_WORDS * num_fields), "<u4")
    words[:, 0] = labels.astype(np.uint32) + _ZERO
    words[:, -1] = _NEWLINE
    for i, counts in enumerate(features.counts):
        field = words[:, 1 + _FIELD_WORDS * i :]
        _write_integers(field, counts, ~features.is_missing[i])
    for i, ranks in enumerate(features.ranks):
        field = words[:, 1 + _FIELD_WORDS * (NUM_DENSE + i) :]
        _write_hashes(field, i, ranks, ~features.is_missing[NUM_DENSE + i])
    return words.tobytes().translate(None, b"\0")


def value_hashes(feature: int, ranks: np.ndarray) -> np.ndarray:
    """Return the 32-bit hash of each value; the odd factor makes them all different."""
    return (ranks * 2654435761 + (feature + 1) * 97658963) % 2**32


def _write_integers(
    field: np.ndarray, counts: np.ndarray, is_present: np.ndarray
) -> None:
    sizes = np.minimum(np.abs(counts), MAX_COUNT)
    high, low = np.divmod(sizes, 10_000)
    is_long = (high > 0) & is_present
    field[:, 0] = np.where((counts < 0) & is_present, _TAB_MINUS, _TAB)
    field[:, 1] = _STRIPPED[high] * is_long
    field[:, 2] = np.where(is_long, _PADDED[low], _STRIPPED[low]) * is_present


def _write_hashes(
    field: np.ndarray, feature: int, ranks: np.ndarray, is_present: np.ndarray
) -> None:
    hashes = value_hashes(feature, ranks)
    field[:, 0] = _TAB
    field[:, 1] = _HEX[hashes >> 16] * is_present
    field[:, 2] = _HEX[hashes & 0xFFFF] * is_present


def _words(texts: list[str]) -> np.ndarray:
    """Return texts of at most four characters as words, padded with zero bytes."""
    return np.array(texts, "S4").view("<u4")


_STRIPPED = _words([str(number) for number in range(10_000)])
_PADDED = _words([f"{number:04d}" for number in range(10_000)])
_HEX = _words([f"{number:04x}" for number in range(2**16)])
