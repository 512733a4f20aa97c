"""Days of a shop's log: each has users and tags that the days before lack."""

import csv
from pathlib import Path

import numpy as np

COLUMNS = """
label: {name: bought, positive: "yes"}
dense: [price, {name: age, transform: none}]
categorical: [user, {name: tags, separator: "|"}]
"""
NAMES = ("bought", "user", "tags", "price", "age")


def make_day(number: int, num_rows: int = 300) -> list[dict[str, str]]:
    """Rows of day `number`; users drift, so that some come and some go each day."""
    rng = np.random.default_rng(number)
    rows = []
    for _ in range(num_rows):
        user = 8 * number + int(rng.zipf(1.4)) % 40
        tags = 2 * number + rng.integers(6, size=rng.integers(4))
        rows.append(
            {
                "bought": "yes" if rng.random() < 0.2 + 0.6 * (user % 2) else "no",
                "user": f"u{user}" if rng.random() < 0.95 else "",
                "tags": "|".join(f"t{tag}" for tag in tags),
                "price": f"{rng.random() * 9:.2f}",
                "age": str(rng.integers(90)),
            }
        )
    return rows


def write_day(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, NAMES, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def users(rows: list[dict[str, str]]) -> list[str | None]:
    """Return the users of rows; `None` where there is none."""
    return [row["user"] or None for row in rows]


def bags(rows: list[dict[str, str]]) -> list[list[str]]:
    """Return the tags of each row."""
    return [[tag for tag in row["tags"].split("|") if tag] for row in rows]


def tags(rows: list[dict[str, str]]) -> list[str]:
    """Return the tags of all rows, one after the other."""
    return [tag for bag in bags(rows) for tag in bag]
