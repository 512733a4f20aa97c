"""The report of a run: its measures in words and its learning curves in a picture."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # a picture in a file needs no screen

from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

from tfdlrm.evaluation import as_table
from tfdlrm.metrics import BinaryMetrics
from tfdlrm.training import CurvePoint


def write_report(
    directory: Path,
    points: Sequence[CurvePoint],
    metrics: dict[str, BinaryMetrics],
    description: dict[str, str],
) -> Path:
    """Write `report.md` and the picture that it shows.

    Args:
        directory: Where to.
        points: The learning curves.
        metrics: Final measures of each split.
        description: What else the report should say, by name.

    Returns:
        The report's path.
    """
    plot_curves(points, directory / "curves.png")
    facts = "\n".join(f"- {name}: {value}" for name, value in description.items())
    report = directory / "report.md"
    report.write_text(
        f"# Training run\n\n{facts}\n\n{as_table(metrics)}\n\n"
        "![Loss, accuracy and AUC over training steps](curves.png)\n",
        encoding="utf-8",
    )
    return report


def plot_curves(points: Sequence[CurvePoint], path: Path) -> None:
    """Draw loss, accuracy and AUC over steps: training solid, validation dashed."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
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
    figure.savefig(path, dpi=120)
    plt.close(figure)
