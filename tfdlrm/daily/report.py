"""The report of a rolling run: measures by day as a table, JSON and a picture."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdlrm.base import storage
from tfdlrm.base.plain_text import markdown
from tfdlrm.daily.journal import Journal

MEASURES = {
    "auc": "AUC",
    "log_loss": "log loss",
    "normalized_entropy": "norm. entropy",
    "calibration": "calibration",
    "unknown_share": "unknown",
}
"""Names of the measures by day in the table, by their names in the JSON."""

REPORT_FILE = "report.md"

_NOTE = (
    "Every day was scored by models that had not seen it, and then learned. `unknown` "
    "is the share of values, of all categorical columns, that the model did not know."
)


def write_report(journal: Journal, models: Sequence[str]) -> Path:
    """Print the table, and write `report.md`, `report.json` and `days.png`.

    Args:
        journal: The rolling run.
        models: Names of the models.

    Returns:
        Path of `report.md`.
    """
    names = [day["name"] for day in journal.days]
    scores = [journal.scores(number) for number in range(len(names))]
    table = as_table(names, scores, models)
    print(f"\n{table}\n")
    days = [
        {"day": name, **measures} for name, measures in zip(names, scores, strict=True)
    ]
    storage.replace_json(journal.output / "report.json", {"days": days})
    text = f"# Day by day\n\n{_NOTE}\n\n{table}\n"
    if any(scores):
        plot_days(scores, models, journal.output / "days.png")
        text += "\n![Measures of each model by day](days.png)\n"
    report = journal.output / REPORT_FILE
    storage.replace_text(report, text)
    return report


def as_table(
    names: Sequence[str], scores: Sequence[Mapping[str, Any]], models: Sequence[str]
) -> str:
    """Return a Markdown table with a line for each model on each day.

    Args:
        names: Names of the days.
        scores: Measures of each model, by its name, on each day; empty for a day that
            no model was there to score.
        models: Names of the models.

    Example:

    >>> measures = {"rows": 9, "auc": 0.75, "log_loss": 0.5, "calibration": None}
    >>> print(as_table(["mon", "tue"], [{}, {"warm": measures}], ["warm"]))
    | day | model | rows | AUC | log loss | norm. entropy | calibration | unknown |
    |---|---|---:|---:|---:|---:|---:|---:|
    | mon | - | - | - | - | - | - | - |
    | tue | warm | 9 | 0.7500 | 0.5000 | - | undefined | - |
    """
    lines = [
        f"| day | model | rows | {' | '.join(MEASURES.values())} |",
        f"|---|---|---:|{'---:|' * len(MEASURES)}",
    ]
    for name, measures in zip(names, scores, strict=True):
        if not measures:
            lines.append(f"| {markdown(name)} |{' - |' * (2 + len(MEASURES))}")
        for model in models:
            if model in measures:
                cells = [markdown(name), model, *_cells(measures[model])]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(measures: Mapping[str, Any]) -> list[str]:
    texts = [_text(measures, name) for name in MEASURES]
    return [f"{measures['rows']:,}", *texts]


def _text(measures: Mapping[str, Any], name: str) -> str:
    if name not in measures:
        return "-"
    value = measures[name]
    if value is None:
        return "undefined"
    return f"{value:.2%}" if name == "unknown_share" else f"{value:.4f}"


def in_a_line(measures: Mapping[str, Any]) -> str:
    """Return the measures of a model on a day as text."""
    return ", ".join(
        f"{title} {_text(measures, name)}" for name, title in MEASURES.items()
    )


def plot_days(
    scores: Sequence[Mapping[str, Any]], models: Sequence[str], path: Path
) -> None:
    """Draw each measure over the days, with a line for each model."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from tfdlrm.base.figures import save_figure

    figure = Figure(figsize=(15, 3.4), layout="constrained")
    axes = figure.subplots(1, len(MEASURES))
    numbers = range(1, len(scores) + 1)
    for axis, (measure, title) in zip(axes, MEASURES.items(), strict=True):
        for model in models:
            values = [_value(measures, model, measure) for measures in scores]
            axis.plot(numbers, values, marker=".", label=model)
        axis.set(title=title, xlabel="day")
        axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axis.grid(alpha=0.3)
    axes[0].legend()
    save_figure(figure, path)


def _value(measures: Mapping[str, Any], model: str, name: str) -> float:
    value = measures.get(model, {}).get(name)
    return math.nan if value is None else value
