"""The learning curves of a run in a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tfdlrm.base.figure_style import COLOURS, SPLIT_LOOKS, panels
from tfdlrm.base.figures import set_title
from tfdlrm.training.curves import CurvePoint

MOST_EPOCH_LINES = 30
_PANELS = {
    "loss": "log loss (nats)",
    "accuracy": "accuracy",
    "auc": "AUC",
    "learning_rate": "learning rate",
}


@dataclass(frozen=True)
class CurveMarks:
    """What a picture of learning curves shows besides the curves.

    Args:
        title: Title of the picture.
        steps_per_epoch: Training steps of an epoch.
        kept_step: Training step whose weights the run keeps.
    """

    title: str
    steps_per_epoch: int
    kept_step: int


def draw_curves(points: Sequence[CurvePoint], marks: CurveMarks) -> Figure:
    """Draw loss, accuracy, AUC and learning rate over training steps.

    Training is solid, validation dashed; vertical lines are the ends of epochs and the
    step whose weights are kept.
    """
    figure, axes = panels(2, 2, 9, 6.6)
    set_title(figure, marks.title)
    last_step = max(point.step for point in points)
    for axis, (name, title) in zip(axes.flat, _PANELS.items(), strict=True):
        for split in ("train", "validation"):
            _draw_curve(axis, points, split, name)
        _mark_epochs(axis, marks.steps_per_epoch, last_step)
        axis.axvline(
            marks.kept_step,
            color=COLOURS[3],
            linewidth=1.5,
            label=f"kept: step {marks.kept_step:,}",
        )
        axis.set(title=title, xlim=(0, last_step * 1.02))
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    for above, below in axes.T:
        _add_epochs(above, marks.steps_per_epoch, last_step)
        below.set_xlabel("training steps")
    axes[1, 1].set_ylim(bottom=0)
    axes[0, 0].legend()
    return figure


def _draw_curve(axis: Any, points: Sequence[CurvePoint], split: str, name: str) -> None:
    """Draw one value of a split; a single point is a dot."""
    curve = [
        (point.step, getattr(point, name))
        for point in points
        if point.split == split and getattr(point, name) is not None
    ]
    if curve:
        steps, values = zip(*curve, strict=True)
        marker = "." if len(curve) <= 60 else None
        axis.plot(steps, values, marker=marker, label=split, **SPLIT_LOOKS[split])


def _mark_epochs(axis: Any, steps_per_epoch: int, last_step: int) -> None:
    """Draw a line at the end of each epoch, or of every so many."""
    num_epochs = last_step // steps_per_epoch
    stride = -(-max(num_epochs, 1) // MOST_EPOCH_LINES)
    for epoch in range(stride, num_epochs + 1, stride):
        axis.axvline(
            epoch * steps_per_epoch, color="grey", linewidth=0.8, linestyle=":"
        )


def _add_epochs(axis: Any, steps_per_epoch: int, last_step: int) -> None:
    """Draw an axis of epochs on top."""
    epochs = axis.secondary_xaxis(
        "top",
        functions=(
            lambda step: np.asarray(step) / steps_per_epoch,
            lambda epoch: np.asarray(epoch) * steps_per_epoch,
        ),
    )
    is_long = last_step >= 2 * steps_per_epoch
    epochs.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=is_long))
    epochs.tick_params(labelsize="small")
    epochs.set_xlabel("epochs", fontsize="small")
