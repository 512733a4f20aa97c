"""The results of a version: measures, curves and scores, for people and the page.

`assets.extra/results.json` of a version holds them, and `results.json` of the run that
trained it. Numbers without a value, such as the AUC of one class, are null.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tfdlrm.base import storage
from tfdlrm.data.schema import SPLITS, FeatureSchema
from tfdlrm.exporting.manifest import EXTRA_DIRECTORY
from tfdlrm.metrics.binary import BinaryMetrics, Reliability

RESULTS_FILE = "results.json"
FORMAT_VERSION = 1

MOST_POINTS = 500
"""Points of the curves that are kept, evenly spaced; the first and last always are."""

NUM_QUANTILES = 1001
"""Quantiles of the validation scores: the least, each thousandth, and the greatest."""

UNITS = {
    "rows": "rows",
    "base_rate": "share of rows",
    "accuracy": "share of rows",
    "auc": "probability",
    "log_loss": "nats a row",
    "normalized_entropy": "log loss over that of the base rate",
    "calibration": "mean prediction over base rate",
    "expected_calibration_error": "probability",
    "loss": "nats a row",
    "quantiles": "probability",
    "predicted": "probability",
    "observed": "share of rows",
}
"""The unit of each number of the file, by its name."""


@dataclass(frozen=True)
class Results:
    """What is known of a trained model, in types of JSON.

    Args:
        trained: When training ended, in UTC, such as `2026-11-30T14:05:00Z`;
            `None` if that is not known.
        data: The data set: `name`, `rows` by split, `days` of the log, `dialect`.
        measures: Measures of each held-out split, as `BinaryMetrics` names them.
        curve: Points by ascending step: `step`, `epoch`, and `train` and `validation`
            with `loss`, `accuracy` and `auc`.
        kept_step: Step whose weights the model has; `None` if that is not known.
        kept_by: Measure of the validation rows, `log_loss` or `auc`, by which that step
            is the best; `None` for the last step.
        reliability: For each split `rows`, `predicted` and `observed` of its bins.
        quantiles: `NUM_QUANTILES` quantiles of the validation scores, the least first;
            empty without validation rows.
        baselines: `auc` and `log_loss` of simpler models, by split and name.
        examples: Raw rows that occurred in a held-out split, without the label.
    """

    trained: str | None
    data: dict[str, Any]
    measures: dict[str, dict[str, Any]] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)
    kept_step: int | None = None
    kept_by: str | None = None
    reliability: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    quantiles: list[float] = field(default_factory=list)
    baselines: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def scored(
        self,
        metrics: Mapping[str, BinaryMetrics],
        bins: Mapping[str, Reliability],
        quantiles: Sequence[float],
    ) -> "Results":
        """Return the same with other scores of the held-out rows.

        Args:
            metrics: Measures of each split.
            bins: Reliability of each split.
            quantiles: `NUM_QUANTILES` quantiles of the validation scores, if there are
                any.
        """
        return replace(
            self,
            measures={split: asdict(values) for split, values in metrics.items()},
            reliability={split: as_lists(rates) for split, rates in bins.items()},
            quantiles=list(quantiles),
        )

    def write(self, path: Path, **facts: Any) -> None:
        """Write the file.

        Args:
            path: The file.
            facts: What only the version knows: its `name` and `version`.

        Raises:
            OSError: If the disk refuses.
        """
        contents = {name: value for name, value in asdict(self).items() if value}
        head = {"format_version": FORMAT_VERSION, **facts, "units": UNITS}
        storage.replace_json(path, head | contents)


def describe_data(data_dir: Path, schema: FeatureSchema) -> dict[str, Any]:
    """Return the name of a data set, its rows by split, its days and its dialect."""
    rows = {split: schema.num_rows(split) for split in SPLITS}
    return {
        "name": storage.at(data_dir).resolve().name,
        "rows": {split: number for split, number in rows.items() if number},
        "days": schema.days,
        "dialect": schema.dialect,
    }


def curve_points(
    points: Sequence[Mapping[str, Any]], steps_per_epoch: int
) -> list[dict[str, Any]]:
    """Return the points of training and validation side by side, at most `MOST_POINTS`.

    Args:
        points: Points as a run keeps them, each of one split.
        steps_per_epoch: Steps of an epoch.

    Example:

    >>> point = {"step": 5, "loss": 0.5, "accuracy": 0.8, "auc": 0.7}
    >>> curve_points([{**point, "split": "train"}], steps_per_epoch=10)
    [{'step': 5, 'epoch': 0.5, 'train': {'loss': 0.5, 'accuracy': 0.8, 'auc': 0.7}}]
    """
    by_step: dict[int, dict[str, Any]] = {}
    for point in points:
        step = point["step"]
        epoch = round(step / steps_per_epoch, 6)
        row = by_step.setdefault(step, {"step": step, "epoch": epoch})
        row[point["split"]] = {
            name: point[name] for name in ("loss", "accuracy", "auc")
        }
    rows = [by_step[step] for step in sorted(by_step)]
    if len(rows) <= MOST_POINTS:
        return rows
    last = len(rows) - 1
    return [rows[i * last // (MOST_POINTS - 1)] for i in range(MOST_POINTS)]


def as_lists(bins: Reliability) -> dict[str, list[float]]:
    """Return the bins as lists."""
    return {name: values.tolist() for name, values in asdict(bins).items()}


def read_results(path: Path) -> dict[str, Any]:
    """Return the contents of a results file; empty if it is missing or damaged.

    Args:
        path: The file itself, or the directory of a version.
    """
    if path.name != RESULTS_FILE:
        path = storage.at(path) / EXTRA_DIRECTORY / RESULTS_FILE
    try:
        contents = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return contents if isinstance(contents, dict) else {}


def load_results(path: Path) -> Results | None:
    """Return the results that a run wrote; `None` if they are missing or damaged."""
    contents = read_results(path)
    names = Results.__dataclass_fields__
    fields = {name: value for name, value in contents.items() if name in names}
    try:
        return Results(**fields)
    except TypeError:
        return None
