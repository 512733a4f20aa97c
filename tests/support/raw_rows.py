"""Made-up raw rows in Criteo's format."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np

NUM_DENSE = 13
NUM_CATEGORICAL = 26


def make_rows(num_rows: int, seed: int = 0) -> list[bytes]:
    """Return labelled rows with missing fields, negative counts and few categories."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=num_rows)
    dense = rng.integers(-3, 1000, (num_rows, NUM_DENSE))
    categories = rng.zipf(1.5, (num_rows, NUM_CATEGORICAL)) % 50 * 85_899_345
    missing = rng.random((num_rows, NUM_DENSE + NUM_CATEGORICAL)) < 0.1
    rows = []
    for row in range(num_rows):
        fields = [b"%d" % value for value in dense[row]]
        fields += [b"%08x" % value for value in categories[row]]
        fields = [
            b"" if empty else field
            for field, empty in zip(fields, missing[row], strict=True)
        ]
        rows.append(b"\t".join([b"%d" % labels[row], *fields]))
    return rows


def replace_field(row: bytes, column: int, value: bytes) -> bytes:
    """Return a row with another value in the column of a number, from 1."""
    fields = row.split(b"\t")
    fields[column - 1] = value
    return b"\t".join(fields)


def write_rows(path: Path, rows: Sequence[bytes], line_end: bytes = b"\n") -> Path:
    """Write `rows` to `path`, zipped if its name ends in `.gz`."""
    text = b"".join(row + line_end for row in rows)
    path.write_bytes(gzip.compress(text, 1) if path.suffix == ".gz" else text)
    return path


def read_plainly(rows: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, list[list]]:
    """Read labelled rows, one field after another.

    Returns:
        Labels, dense features as `log(max(x, 0) + 1)` in float64, and for each row its
        26 categories as integers, or `None` where missing.
    """
    table = [row.split(b"\t") for row in rows]
    labels = np.array([int(fields[0]) for fields in table])
    counts = [[max(int(field or 0), 0) for field in fields[1:14]] for fields in table]
    dense = np.log(np.array(counts, np.float64).reshape(-1, NUM_DENSE) + 1)
    categories = [
        [int(field, 16) if field else None for field in fields[14:]] for fields in table
    ]
    return labels, dense, categories
