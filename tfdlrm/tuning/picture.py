"""The trials of a search in a picture."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from tfdlrm.base.figure_style import COLOURS, label, panels
from tfdlrm.base.figures import set_title
from tfdlrm.base.setting_words import as_setting
from tfdlrm.tuning.dimensions import Dimension, Range
from tfdlrm.tuning.outcome import FinishedTrial

AXES = {"log_loss": "log loss (nats)", "auc": "AUC"}
MOST_SETTINGS = 10
_COLUMNS = 2
_MOST_TICKS = 8
_LEFT_OUT = 1.5
"""Trials that are further behind the middle ones than so many times these behind the
best are drawn on the edge, so that the good ones can be told apart."""


@dataclass(frozen=True)
class TrialPicture:
    """What the picture shows.

    Args:
        trials: The finished trials.
        best: The best of them.
        metric: The measure that was searched by.
        dimensions: The settings that were searched, of which the first are drawn.
        points_per_epoch: Points of the validation curve in an epoch.
        title: The title.
    """

    trials: Sequence[FinishedTrial]
    best: FinishedTrial
    metric: str
    dimensions: Mapping[str, Dimension]
    points_per_epoch: int
    title: str

    def draw(self) -> Figure:
        """Draw the trials in turn, their validation curves, and each setting."""
        names = list(self.dimensions)[:MOST_SETTINGS]
        rows = 1 + -(-len(names) // _COLUMNS)
        figure, axes = panels(rows, _COLUMNS, 9, 0.6 + 2.9 * rows)
        set_title(figure, self.title)
        self._draw_history(axes[0, 0])
        self._draw_curves(axes[0, 1])
        for name, axis in zip(names, axes.flat[_COLUMNS:], strict=False):
            self._draw_setting(axis, name)
        for axis in axes.flat[_COLUMNS + len(names) :]:
            axis.set_visible(False)
        for axis in axes.flat[: _COLUMNS + len(names)]:
            axis.set_ylim(*self._limits)
        for axis in axes[:, 0]:
            axis.set_ylabel(AXES[self.metric])
        # Below all panels: inside them it would hide trials.
        handles = [
            line
            for axis in axes[0]
            for line in axis.get_lines()
            if not line.get_label().startswith("_")
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        return figure

    def _draw_history(self, axis: Any) -> None:
        for state, look in _LOOKS.items():
            points = [
                (trial.number, self._inside(trial.outcome.value(self.metric)))
                for trial in self.trials
                if trial.outcome.state == state
            ]
            if points:
                axis.plot(*zip(*points, strict=True), **look, label=state)
        failed = [t.number for t in self.trials if t.outcome.state == "failed"]
        if failed:
            worst = self._limits[0 if self.metric == "auc" else 1]
            axis.plot(failed, [worst] * len(failed), **_FAILED, label="failed")
        numbers, values = self._best_so_far
        axis.step(numbers, values, where="post", color=COLOURS[1], label="best so far")
        axis.set(title="trials", xlabel="trial")
        axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))

    @property
    def _best_so_far(self) -> tuple[list[int], list[float]]:
        complete = [t for t in self.trials if t.outcome.state == "complete"]
        values = [trial.outcome.value(self.metric) for trial in complete]
        better = np.maximum if self.metric == "auc" else np.minimum
        numbers = [trial.number for trial in complete]
        bests = better.accumulate(values).tolist()
        return [*numbers, self.trials[-1].number], [*bests, bests[-1]]

    def _draw_curves(self, axis: Any) -> None:
        for trial in (*self.trials, self.best):
            is_best = trial is self.best
            look = {"color": COLOURS[1], "linewidth": 2.0} if is_best else _OTHER_CURVE
            curve = sorted(trial.curve.items())
            if curve:
                epochs = [position / self.points_per_epoch for position, _ in curve]
                values = [value for _, value in curve]
                marker = "o" if len(curve) == 1 else None
                axis.plot(epochs, values, marker=marker, markersize=3, **look)
        axis.plot([], [], color=COLOURS[1], label=f"trial {self.best.number}, the best")
        axis.plot([], [], **_OTHER_CURVE, label="other trials")
        axis.set(title="validation curves", xlabel="epochs")
        axis.set_xlim(left=0)

    def _draw_setting(self, axis: Any, name: str) -> None:
        dimension = self.dimensions[name]
        texts = [as_setting(value) for value in dimension.examples]
        for state, look in _LOOKS.items():
            trials = [
                trial
                for trial in self.trials
                if trial.outcome.state == state and name in trial.values
            ]
            if not trials:  # an empty line that is not clipped breaks the layout
                continue
            x = [trial.values[name] for trial in trials]
            if not isinstance(dimension, Range):
                x = [texts.index(as_setting(value)) for value in x]
            y = [self._inside(trial.outcome.value(self.metric)) for trial in trials]
            axis.plot(x, y, **look)
        if name in self.best.values:
            position = self.best.values[name]
            if not isinstance(dimension, Range):
                position = texts.index(as_setting(position))
            best = self.best.outcome.value(self.metric)
            axis.plot([position], [best], **_BEST)
        if isinstance(dimension, Range):
            _show_range(axis, dimension)
        elif len(texts) <= _MOST_TICKS:
            is_long = sum(map(len, texts)) > 30
            turn = {"rotation": 20, "ha": "right"} if is_long else {}
            axis.set_xticks(range(len(texts)), list(map(label, texts)), **turn)
            axis.set_xlim(-0.5, len(texts) - 0.5)
        axis.set_title(label(name))

    @property
    def _limits(self) -> tuple[float, float]:
        """The lowest and the highest value of all axes."""
        sign = -1 if self.metric == "auc" else 1
        values = sign * np.array(
            [
                trial.outcome.value(self.metric)
                for trial in self.trials
                if trial.outcome.state == "complete"
            ]
        )
        best = float(values.min())
        behind = float(np.quantile(values, 0.75)) - best
        worst = min(float(values.max()), best + (1 + _LEFT_OUT) * behind)
        margin = 0.06 * (worst - best) or 0.01 * abs(best) or 0.01
        low, high = sorted((sign * (best - margin), sign * (worst + margin)))
        return low, high

    def _inside(self, value: float) -> float:
        return min(max(value, self._limits[0]), self._limits[1])


def _show_range(axis: Any, dimension: Range) -> None:
    """Let an axis show the whole range, with few numbers that are easy to read."""
    low, high = dimension.low, dimension.high
    if not dimension.log:
        margin = 0.04 * (high - low)
        axis.set_xlim(low - margin, high + margin)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=dimension.is_whole))
        return
    axis.set_xscale("log")
    margin = (high / low) ** 0.04
    axis.set_xlim(low / margin, high * margin)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks: list[float] = []
    for digits in ((1, 2, 5), (1, 3), (1,)):
        numbers = [
            digit * 10.0**power for power in range(first, last + 1) for digit in digits
        ]
        ticks = [number for number in numbers if low <= number <= high]
        if len(ticks) <= _MOST_TICKS:
            break
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.xaxis.set_minor_locator(NullLocator())


_LOOKS: dict[str, dict[str, Any]] = {
    "complete": {
        "linestyle": "",
        "marker": "o",
        "markersize": 4,
        "color": COLOURS[0],
        "clip_on": False,
    },
    "pruned": {
        "linestyle": "",
        "marker": "o",
        "markersize": 4,
        "color": COLOURS[6],
        "fillstyle": "none",
        "clip_on": False,
    },
}
_FAILED: dict[str, Any] = {
    "linestyle": "",
    "marker": "x",
    "markersize": 5,
    "color": COLOURS[3],
    "clip_on": False,
}
_BEST: dict[str, Any] = {"marker": "D", "markersize": 7, "color": COLOURS[1]}
_OTHER_CURVE: dict[str, Any] = {"color": COLOURS[6], "linewidth": 0.8, "alpha": 0.6}
