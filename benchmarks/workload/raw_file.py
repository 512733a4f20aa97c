"""A raw file of any size, with Criteo Kaggle's columns and cardinalities.

`pipelines.synthetic` plants a model behind its labels and keeps its vocabularies
small. Here only the cost of reading and counting matters, so the labels are random and
the vocabularies are those of the real data.
"""

from pathlib import Path

import numpy as np

from pipelines.synthetic import KAGGLE_VOCABULARY_SIZES, NUM_DENSE, power_law_ranks
from tfdlrm.base import storage

CHUNK_ROWS = 100_000
FIELD_BYTES = 8
MISSING = 0.12
"""About the share of empty fields that brings a row to Kaggle's 240 bytes."""

_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_TAB, _NEWLINE = b"\t\n"


def write_rows(path: Path, num_rows: int, seed: int = 0) -> None:
    """Write a raw file, complete or not at all, unless it exists already.

    Args:
        path: The file.
        num_rows: Rows in it.
        seed: Seed of the rows; the first rows of a longer file are the same.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with storage.whole(path) as temporary, temporary.open("wb") as file:
        for start in range(0, num_rows, CHUNK_ROWS):
            rng = np.random.default_rng([seed, start])
            file.write(_text(rng, min(CHUNK_ROWS, num_rows - start)))


def _text(rng: np.random.Generator, num_rows: int) -> bytes:
    """Return rows as text.

    Every field gets its full width first; then the gaps are closed.
    """
    num_fields = 1 + NUM_DENSE + len(KAGGLE_VOCABULARY_SIZES)
    fields = np.zeros((num_rows, num_fields, FIELD_BYTES + 1), np.uint8)
    fields[:, :, FIELD_BYTES] = _TAB
    fields[:, -1, FIELD_BYTES] = _NEWLINE
    fields[:, 0, 0] = ord("0") + (rng.random(num_rows) < 0.25)
    counts = np.floor(rng.lognormal(1.2, 1.6, (num_rows, NUM_DENSE))).astype(np.int64)
    fields[:, 1 : 1 + NUM_DENSE, :FIELD_BYTES] = _decimal(counts)
    for i, size in enumerate(KAGGLE_VOCABULARY_SIZES):
        ranks = power_law_ranks(rng.random(num_rows), size, 1.05 + 0.02 * i)
        hashes = (ranks * 2654435761 + i * 97658963).astype(np.uint32)
        fields[:, 1 + NUM_DENSE + i, :FIELD_BYTES] = _hexadecimal(hashes)
    missing = rng.random((num_rows, num_fields - 1)) < MISSING
    fields[:, 1:, :FIELD_BYTES] *= ~missing[:, :, None]
    return fields[fields != 0].tobytes()


def _decimal(values: np.ndarray) -> np.ndarray:
    powers = 10 ** np.arange(FIELD_BYTES)[::-1]
    digits = values[..., None] // powers
    text = (digits % 10 + ord("0")).astype(np.uint8)
    text[..., :-1] *= digits[..., :-1] > 0
    return text


def _hexadecimal(values: np.ndarray) -> np.ndarray:
    shifts = np.arange(0, 32, 4, dtype=np.uint32)[::-1]
    return _HEX[(values[:, None] >> shifts) & np.uint32(15)]
