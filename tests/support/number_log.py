"""A log of numbers with transforms, buckets and flags, and a model of it."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipelines.prepare import prepare
from tests.support.made_once import made_once
from tfdlrm.config import PrepareConfig
from tfdlrm.config.models import LogisticRegressionConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.models import build_model

DESCRIPTION = """
label: bought
missing: [NA]
dense:
  - {name: price, transform: standardize, missing_flag: true}
  - {name: age, transform: {quantiles: 10}, missing: [-1, NA]}
  - {name: price_capped, column: price, clip: [0, 50], transform: minmax}
  - clicks
  - {name: score, transform: none}
  - {name: seconds, transform: log2_squared, missing_flag: true}
categorical:
  - country
  - {name: price_bucket, column: price, buckets: {quantiles: 5}}
  - {name: tags, separator: "|"}
  - {name: views, buckets: log2_squared}
"""
NUMBERS = ("price", "age", "clicks", "score", "seconds", "views")
NAMES = (*NUMBERS, "country", "tags")
CONFIG = PrepareConfig(min_frequency=1, days=2, validation_days=0, test_days=1)


def make_rows(num_rows: int, seed: int = 0) -> list[dict[str, str]]:
    """Return rows as text, some of whose values are missing."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(num_rows):
        row = {
            "bought": str(number % 2),
            "price": f"{rng.normal(20, 30):.2f}",
            "age": str(rng.integers(-1, 90)),
            "clicks": str(rng.integers(-3, 1000)),
            "score": f"{rng.normal():.3f}",
            "seconds": f"{np.exp(rng.normal(3, 3)):.4g}",
            "views": str(rng.integers(-5, 10**6)),
            "country": str(rng.choice(["de", "fr", "it"])),
            "tags": "|".join(rng.choice(["a", "b", "c"], rng.integers(3))),
        }
        for name in NAMES:
            if rng.random() < 0.1:
                row[name] = str(rng.choice(["", "NA"]))
        rows.append(row)
    return rows


ROWS = make_rows(400)
UNUSUAL = [
    {**ROWS[0], **changes}
    for changes in (
        dict.fromkeys(NAMES, ""),
        dict.fromkeys(NUMBERS, "1e3"),
        dict.fromkeys(NUMBERS, "+5."),
        dict.fromkeys(NUMBERS, "-.5E-1"),
        dict.fromkeys(NUMBERS, "-0"),
        dict.fromkeys(NUMBERS, "3.4e38"),
        dict.fromkeys(NUMBERS, "-3.4e38"),
        dict.fromkeys(NUMBERS, "1e-300"),
        dict.fromkeys(NUMBERS, "2"),
        {"age": "-1.0", "price": "50", "seconds": "2.0000000001"},
        {"country": "at", "tags": "z|a"},
    )
]


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write rows as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["bought", *NAMES], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


@dataclass(frozen=True)
class NumberLog:
    """A log, its data set and a model.

    Args:
        log: The log; the second half of its rows is for test.
        columns: The description.
        data_dir: The data set.
        schema: Its schema.
        version: The exported model.
    """

    log: Path
    columns: Path
    data_dir: Path
    schema: FeatureSchema
    version: Path

    @classmethod
    def of(
        cls, directory: Path, log: Path, columns: Path | None, **settings: object
    ) -> "NumberLog":
        """Prepare a log and export a model whose weights are random."""
        data_dir = directory / "data"
        schema = prepare([log], data_dir, replace(CONFIG, columns=columns, **settings))
        model = build_model(schema, LogisticRegressionConfig())
        rng = np.random.default_rng(0)
        for weight in model.weights:
            weight.assign(rng.normal(0, 0.03, weight.shape))
        version = export_model(model, schema, data_dir, directory / "model")
        return cls(log, columns or Path(), data_dir, schema, version)


def number_log(tmp_path_factory) -> NumberLog:
    """Return the log of `ROWS`, with a data set and a model."""

    def write(directory: Path) -> None:
        (directory / "columns.yaml").write_text(DESCRIPTION)
        log = write_rows(directory / "log.csv", ROWS)
        NumberLog.of(directory, log, directory / "columns.yaml")

    directory = made_once(tmp_path_factory, "number_log", write)
    return NumberLog(
        directory / "log.csv",
        directory / "columns.yaml",
        directory / "data",
        FeatureSchema.load(directory / "data"),
        directory / "model" / "1",
    )
