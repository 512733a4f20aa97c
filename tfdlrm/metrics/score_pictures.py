"""Scores of splits in pictures: reliability, both classes, ROC, precision, gain."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tfdlrm.base.figure_style import COLOURS, SPLIT_LOOKS, panels
from tfdlrm.base.figures import set_title
from tfdlrm.metrics.binary import (
    BinaryMetrics,
    Reliability,
    expected_calibration_error,
    measure_text,
)
from tfdlrm.metrics.score_histogram import ScoreHistogram

NUM_BARS = 50
_TAIL = 1e-4
"""Share of rows at each end of the scores that the first and the last bar hold."""

Scores = Mapping[str, ScoreHistogram]


def draw_reliability(bins: Mapping[str, Reliability]) -> Figure:
    """Draw observed over predicted click rates of each split."""
    figure, axes = panels(1, 1, 5.2, 4.8)
    _reliability(axes[0, 0], bins)
    return figure


def draw_scores(scores: Scores, title: str) -> Figure:
    """Draw scores by class, ROC, precision and recall, and gain of each split."""
    figure, axes = panels(2, 2, 9, 8)
    set_title(figure, title)
    _draw_all(axes.flat, scores)
    return figure


def draw_evaluation(
    metrics: Mapping[str, BinaryMetrics],
    bins: Mapping[str, Reliability],
    scores: Scores,
    title: str,
) -> Figure:
    """Draw reliability, what `draw_scores` draws, and the measures in one picture."""
    figure, axes = panels(2, 3, 13.5, 8)
    set_title(figure, title)
    first, *others = axes.flat
    _reliability(first, bins)
    _draw_all(others, scores)
    _measures(others[-1], metrics)
    return figure


def _draw_all(axes: Any, scores: Scores) -> None:
    split = list(scores)[-1]
    panels_of = (_both_classes(split), _roc, _precision_recall, _gain)
    for axis, draw in zip(axes, panels_of, strict=False):
        draw(axis, scores)


def _measures(axis: Any, metrics: Mapping[str, BinaryMetrics]) -> None:
    """Write the measures of each split into an empty panel."""
    names = {
        "rows": "rows",
        "base rate": "base_rate",
        "AUC": "auc",
        "log loss": "log_loss",
        "norm. entropy": "normalized_entropy",
        "accuracy": "accuracy",
        "calibration": "calibration",
        "ECE": "expected_calibration_error",
    }
    cells = [
        [
            f"{values.rows:,}"
            if name == "rows"
            else measure_text(getattr(values, name))
            for values in metrics.values()
        ]
        for name in names.values()
    ]
    axis.set_axis_off()
    table = axis.table(
        cells,
        rowLabels=list(names),
        colLabels=list(metrics),
        bbox=(0.3, 0.1, 0.7, 0.85),
        edges="horizontal",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(11)


def _reliability(axis: Any, bins: Mapping[str, Reliability]) -> None:
    """Draw observed over predicted click rates, and how far chance may move them."""
    for (split, rates), marker in zip(bins.items(), "os^", strict=False):
        error = np.sqrt(rates.observed * (1 - rates.observed) / rates.rows)
        axis.errorbar(
            rates.predicted,
            rates.observed,
            yerr=1.96 * error,
            fmt=marker,
            markersize=4,
            elinewidth=1,
            color=SPLIT_LOOKS[split]["color"],
            label=f"{split} (ECE {expected_calibration_error(rates):.4f})",
        )
    highest = [
        np.maximum(rates.predicted, rates.observed).max() for rates in bins.values()
    ]
    end = 1.05 * max(1e-6, *highest)
    axis.plot([0, end], [0, end], color="grey", linewidth=1, zorder=0, label="perfect")
    axis.set(
        title="reliability",
        xlabel="mean predicted probability of a bin",
        ylabel="share of clicks, 95% interval",
        xlim=(0, end),
        ylim=(0, None),
    )
    axis.legend()


def _both_classes(split: str) -> Callable[[Any, Scores], None]:
    """Return the panel of one split's scores, each class as shares of its own rows."""

    def draw(axis: Any, scores: Scores) -> None:
        histogram = scores[split]
        low, high = _logit(_ends(histogram))
        edges = np.linspace(low, high, NUM_BARS + 1)
        logits = np.clip(_logit(histogram.highest), low, high)
        for rows, name, colour in (
            (histogram.negatives, "not clicked", COLOURS[6]),
            (histogram.positives, "clicked", COLOURS[0]),
        ):
            if not rows.any():
                continue
            counts, _ = np.histogram(logits, edges, weights=100 * rows / rows.sum())
            axis.stairs(counts, edges, fill=True, alpha=0.45, color=colour)
            axis.stairs(
                counts, edges, color=colour, label=f"{name} ({rows.sum():,} rows)"
            )
        ticks = _ticks(low, high)
        axis.set_xticks(_logit(ticks), [f"{tick:g}" for tick in ticks])
        axis.set(
            title=f"scores of {split} rows",
            xlabel="predicted probability, logit scale",
            ylabel="% of the rows of a class",
            xlim=(low, high),
            ylim=(0, 1.3 * axis.dataLim.y1),  # the legend is above the bars
        )
        axis.legend(loc="upper left")

    return draw


def _roc(axis: Any, scores: Scores) -> None:
    _draw_curves(axis, scores, ScoreHistogram.roc, "AUC", _area)
    axis.plot([0, 1], [0, 1], color="grey", linewidth=1, zorder=0, label="chance")
    axis.set(
        title="ROC", xlabel="false positive rate", ylabel="true positive rate (recall)"
    )
    axis.legend(loc="lower right")


def _precision_recall(axis: Any, scores: Scores) -> None:
    def average_precision(recall: np.ndarray, precision: np.ndarray) -> float:
        return float(np.sum(np.diff(recall) * precision[1:]))

    _draw_curves(axis, scores, ScoreHistogram.precision_recall, "AP", average_precision)
    for split, histogram in scores.items():
        rate = (
            histogram.positives.sum()
            / (histogram.positives + histogram.negatives).sum()
        )
        colour = SPLIT_LOOKS[split]["color"]
        axis.axhline(rate, color=colour, linewidth=0.8, linestyle=":")
    axis.set(title="precision and recall", xlabel="recall", ylabel="precision")
    axis.legend(loc="upper right", title="dotted: base rate")


def _gain(axis: Any, scores: Scores) -> None:
    def in_the_first_tenth(across: np.ndarray, up: np.ndarray) -> float:
        return float(np.interp(0.1, across, up))

    _draw_curves(axis, scores, ScoreHistogram.gain, "at 10%", in_the_first_tenth)
    axis.plot([0, 1], [0, 1], color="grey", linewidth=1, zorder=0, label="chance")
    axis.set(
        title="gain",
        xlabel="share of rows, highest scores first",
        ylabel="share of all clicks among them",
    )
    axis.legend(loc="lower right")


def _draw_curves(
    axis: Any,
    scores: Scores,
    curve_of: Callable[[ScoreHistogram], tuple[np.ndarray, np.ndarray]],
    measure: str,
    value_of: Callable[[np.ndarray, np.ndarray], float],
) -> None:
    """Draw a curve of each split, with a measure of it in the legend."""
    for split, histogram in scores.items():
        across, up = curve_of(histogram)
        value = measure_text(value_of(across, up))
        axis.plot(across, up, label=f"{split}, {measure} {value}", **SPLIT_LOOKS[split])
    axis.set(xlim=(0, 1), ylim=(0, 1.02))


def _area(across: np.ndarray, up: np.ndarray) -> float:
    return float(np.sum(np.diff(across) * (up[1:] + up[:-1]) / 2))


def _ends(histogram: ScoreHistogram) -> np.ndarray:
    """Return the lowest and the highest score to draw, which differ."""
    low, *_, high = histogram.quantiles(round(1 / _TAIL) + 1)[1:-1]
    if high - low < 1e-6:
        low, high = low / 1.5, min(1.5 * high, (1 + high) / 2)
    return np.array([low, high])


def _logit(probabilities: np.ndarray) -> np.ndarray:
    step = np.finfo(np.float32).eps  # scores are float32, which rounds to 0 and 1
    clipped = np.clip(probabilities, step, 1 - step)
    return np.log(clipped / (1 - clipped))


def _ticks(low: float, high: float) -> np.ndarray:
    """Return round probabilities between two logits, far enough apart to be read."""
    small = [digit * 10.0**power for power in range(-7, -1) for digit in (1, 2, 5)]
    half = [*small, 0.1, 0.2, 0.35]
    ticks = np.array([*half, 0.5, *(1 - np.array(half[::-1]))])
    logits = _logit(ticks)
    kept: list[int] = []
    for index in np.flatnonzero((logits >= low) & (logits <= high)):
        if not kept or logits[index] - logits[kept[-1]] >= (high - low) / 7:
            kept.append(index)
    return ticks[kept]
