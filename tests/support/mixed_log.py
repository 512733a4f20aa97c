"""A log with columns of all sorts, in text and typed, and a model of each."""

import csv
import random
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.prepare import prepare
from tests.support.made_once import made_once
from tfdlrm.config import PrepareConfig
from tfdlrm.config.models import LogisticRegressionConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.models import build_model

PRICE, USER, RATING = "price (EUR)", "user.id", 'rat"ing é'
BIG = 9_007_199_254_740_993
"""An integer that float64 cannot hold."""

GENRES = ["War", "Musical", "a,b", 'say "hi"', "7", "two\nlines"]

_DESCRIPTION = """format: {format}
label: clicked
dense: ["price (EUR)", {{name: age, transform: none, missing: [-1]}}]
categorical:
  - user.id
  - {{name: genres, {genres}}}
  - is new
  - "rat\\"ing é"
  - big
"""


def make_rows(number: int, seed: int = 0) -> list[dict[str, str]]:
    """Return rows as text."""
    rng = random.Random(seed)
    return [
        {
            "id": f"r{number},{rng.randint(0, 9)}",
            "clicked": str(rng.randint(0, 1)),
            PRICE: f"{rng.random() * 20:.2f}",
            "age": rng.choice(["", "23", "41", "-1"]),
            USER: str(rng.randint(1, 20)),
            "genres": "|".join(rng.sample(GENRES, rng.randint(0, 3))),
            "is new": rng.choice(["True", "False"]),
            RATING: rng.choice(["3.5", "4.0", "中", ""]),
            "big": rng.choice([str(BIG), str(BIG + 2), "3"]),
        }
        for number in range(number)
    ]


ROWS = make_rows(400)


def write_text(path: Path, rows: list[dict[str, str]] = ROWS) -> Path:
    """Write rows as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_typed(rows: list[dict[str, str]]) -> pl.DataFrame:
    """Return rows with numbers, booleans and lists."""
    ages = [float(row["age"]) if row["age"] else None for row in rows]
    genres = [row["genres"].split("|") if row["genres"] else [] for row in rows]
    return pl.DataFrame(
        {
            "id": [row["id"] for row in rows],
            "clicked": [int(row["clicked"]) for row in rows],
            PRICE: [float(row[PRICE]) for row in rows],
            "age": ages,
            USER: [int(row[USER]) for row in rows],
            "genres": pl.Series(genres, dtype=pl.List(pl.String)),
            "is new": [row["is new"] == "True" for row in rows],
            RATING: [row[RATING] or None for row in rows],
            "big": [int(row["big"]) for row in rows],
        }
    )


def mixed_models(tmp_path_factory) -> Path:
    """Return the directory of `text/1` and `typed/1`, their logs and descriptions."""

    def write(root: Path) -> None:
        write_text(root / "log.csv")
        as_typed(ROWS).write_parquet(root / "log.parquet")
        for name, suffix, genres in (
            ("text", "csv", 'separator: "|"'),
            ("typed", "parquet", "multi_hot: true"),
        ):
            columns = root / f"{name}.yaml"
            columns.write_text(_DESCRIPTION.format(format=suffix, genres=genres))
            data = root / f"{name}_data"
            config = PrepareConfig(min_frequency=1, columns=columns)
            prepare([root / f"log.{suffix}"], data, config)
            schema = FeatureSchema.load(data)
            model = build_model(schema, LogisticRegressionConfig())
            rng = np.random.default_rng(0)
            for weight in model.weights:
                weight.assign(rng.normal(0, 0.3, weight.shape))
            export_model(model, schema, data, root / name)

    return made_once(tmp_path_factory, "mixed_models", write)
