"""A made-up log with columns that are not Criteo's."""

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfdlrm.config import PrepareConfig

DESCRIPTION = """
label: {name: bought, positive: "yes"}
dense: [price, {name: age, transform: none}]
categorical: [{name: tags, separator: "|"}, user, {name: shops, separator: " "}]
split: {time: ts}
"""
NUM_ROWS = 1500
CONFIG = PrepareConfig(min_frequency=4, validation_days=1, test_days=1.5)
TAGS = ["news", "a,b", 'say "hi"', "two\nlines", "rare1", "rare2", "rare3"]


def make_log(num_rows: int = NUM_ROWS, seed: int = 0) -> list[dict[str, str]]:
    """Return rows as text, not sorted by time."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(num_rows):
        tags = rng.choice(TAGS, rng.integers(4), p=[0.4, 0.3, 0.2, 0.097, *[0.001] * 3])
        shops = rng.integers(30, size=rng.integers(3))
        user = int(rng.zipf(1.6)) % 300
        is_yes = rng.random() < (0.8 if user % 2 else 0.2)
        rows.append(
            {
                "ts": str(1_700_000_000 + int(rng.integers(5 * 86_400))),
                "price": f"{rng.normal(20, 15):.2f}",
                "bought": "yes" if is_yes else "no",
                "tags": "|".join(tags),
                "unused": "x",
                "user": f"u{user}" if user else "",
                "age": str(rng.integers(90)) if rng.random() < 0.8 else "",
                "shops": " ".join(map(str, shops)),
            }
        )
    return rows


ROWS = make_log()


def write_log(
    path: Path, rows: list[dict[str, str]], names: Sequence[str] = ()
) -> Path:
    """Write some columns of `rows`, or all, to `path`, zipped if it ends in `.gz`."""
    names = names or list(rows[0])
    open_file = gzip.open if path.suffix == ".gz" else open
    with open_file(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path
