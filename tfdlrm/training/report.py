"""The report of a run: its measures in words and its learning curves in a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfdlrm.base import storage
from tfdlrm.base.figures import save_figure
from tfdlrm.metrics.binary import BinaryMetrics, Reliability, expected_calibration_error
from tfdlrm.metrics.splits import as_table
from tfdlrm.training.curves import CurvePoint


def write_report(
    directory: Path,
    points: Sequence[CurvePoint],
    metrics: dict[str, BinaryMetrics],
    bins: dict[str, Reliability],
    description: dict[str, str],
    tables: str = "",
) -> Path:
    """Write `report.md` and the pictures that it shows.

    Args:
        directory: The directory of the run.
        points: The learning curves.
        metrics: Final measures of each split.
        bins: Final predicted and observed click rates of each split; may be empty.
        description: Other facts for the report, by name.
        tables: Markdown about the rows of tables that a warm start carried over.

    Returns:
        The report's path.
    """
    plot_curves(points, directory / "curves.png")
    pictures = "![Loss, accuracy and AUC over training steps](curves.png)\n"
    if bins:
        plot_reliability(bins, directory / "reliability.png")
        pictures += "\n![Observed over predicted click rates](reliability.png)\n"
    facts = "\n".join(f"- {name}: {value}" for name, value in description.items())
    report = directory / "report.md"
    if tables:
        pictures += f"\n## Rows of tables\n\n{tables}\n"
    storage.replace_text(
        report, f"# Training run\n\n{facts}\n\n{as_table(metrics)}\n\n{pictures}"
    )
    return report


def plot_curves(points: Sequence[CurvePoint], path: Path) -> None:
    """Draw loss, accuracy and AUC over steps: training solid, validation dashed."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    titles = {"loss": "log loss", "accuracy": "accuracy", "auc": "AUC"}
    for axis, (name, title) in zip(axes, titles.items(), strict=True):
        for split, style in (("train", "-"), ("validation", "--")):
            curve = [point for point in points if point.split == split]
            if curve:
                steps = [point.step for point in curve]
                values = [getattr(point, name) for point in curve]
                axis.plot(steps, values, style, marker=".", label=split)
        axis.set(title=title, xlabel="training steps")
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axis.grid(alpha=0.3)
    axes[0].legend()
    save_figure(figure, path)


def plot_reliability(bins: dict[str, Reliability], path: Path) -> None:
    """Draw observed over predicted click rates, and how far chance may move them."""
    figure = Figure(figsize=(4.8, 4.4), layout="constrained")
    axis = figure.subplots()
    for (split, rates), marker in zip(bins.items(), "os^", strict=False):
        error = np.sqrt(rates.observed * (1 - rates.observed) / rates.rows)
        axis.errorbar(
            rates.predicted,
            rates.observed,
            yerr=1.96 * error,
            fmt=marker,
            markersize=4,
            elinewidth=1,
            label=f"{split} (ECE {expected_calibration_error(rates):.4f})",
        )
    end = 1.05 * max(
        np.maximum(rates.predicted, rates.observed).max() for rates in bins.values()
    )
    axis.plot([0, end], [0, end], color="grey", linewidth=1, zorder=0, label="perfect")
    axis.set(
        title="reliability",
        xlabel="mean predicted probability of a bin",
        ylabel="share of clicks, 95% interval",
        xlim=(0, end),
        ylim=(0, None),
    )
    axis.grid(alpha=0.3)
    axis.legend()
    save_figure(figure, path)
