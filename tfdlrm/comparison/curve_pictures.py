"""The learning curves of compared runs in pictures: files, or parts of a page."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tfdlrm.base.figure_style import COLOURS, STYLE, label, panels
from tfdlrm.comparison.runs import FinishedRun

_MARKERS = (None, "o", "s", "^", "D", "v", "P")
_INK = "#010203"
"""Stands for the colour of a page's text."""

_ON_A_PAGE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text, in a font of the reader's
    "font.family": "sans-serif",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.facecolor": "none",
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


@dataclass(frozen=True)
class CurvePicture:
    """A picture of one measure over training steps.

    Args:
        measure: The measure's name in the curves.
        axis: Its name and unit.
    """

    measure: str
    axis: str

    @property
    def file_name(self) -> str:
        """Name of the file."""
        return f"{self.measure}.png"

    @property
    def caption(self) -> str:
        """What the picture shows."""
        name = f"{self.axis[0].upper()}{self.axis[1:]}"
        return f"{name} over training steps: training solid, validation dashed"

    def draw(self, contenders: Sequence[Sequence[FinishedRun]]) -> Figure:
        """Draw the curves of the first seed of each model and optimizer."""
        columns = 2 if max(len(runs[0].label) for runs in contenders) < 26 else 1
        legend_rows = -(-(len(contenders) + 2) // columns)
        figure, axes = panels(1, 1, 5, 3.8 + 0.2 * legend_rows)
        axis = axes[0, 0]
        for number, (run, *_) in enumerate(contenders):
            for split, style in (("train", "-"), ("validation", "--")):
                points = [point for point in run.curves if point["split"] == split]
                axis.plot(
                    [point["step"] for point in points],
                    [point[self.measure] for point in points],
                    style,
                    **_look(number),
                )
        axis.set(title=f"{self.axis} of the first seed", xlabel="training steps")
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
        figure.legend(
            handles=[
                *(
                    Line2D([], [], label=label(run.label), **_look(number))
                    for number, (run, *_) in enumerate(contenders)
                ),
                Line2D([], [], color="#808080", linestyle="-", label="training"),
                Line2D([], [], color="#808080", linestyle="--", label="validation"),
            ],
            loc="outside lower center",
            ncols=columns,
        )
        return figure

    def as_part_of_a_page(self, contenders: Sequence[Sequence[FinishedRun]]) -> str:
        """Return the picture as SVG in the colours of the page that it is put into.

        They are the page's variables `--curve-0` and so on, and its colour of text.
        """
        file = io.StringIO()
        salt: dict[Any, Any] = {
            "svg.hashsalt": self.measure
        }  # ids differ from those of other pictures
        with matplotlib.rc_context({**STYLE, **_ON_A_PAGE, **salt}):
            self.draw(contenders).savefig(file, format="svg", metadata={"Date": None})
        svg = file.getvalue()
        svg = svg[svg.index("<svg") :]
        for number, colour in enumerate(COLOURS):
            svg = svg.replace(colour.lower(), f"var(--curve-{number})")
        svg = re.sub(r'id="(?!m|p[0-9a-f])[^"]*"', "", svg)  # nothing refers to them
        described = f'<svg role="img" aria-label="{self.caption}" '
        return svg.replace(_INK, "currentColor").replace("<svg ", described, 1)


CURVE_PICTURES = (
    CurvePicture("auc", "AUC"),
    CurvePicture("loss", "log loss (nats)"),
    CurvePicture("accuracy", "accuracy"),
)


def _look(number: int) -> dict[str, Any]:
    """Return the colour of a line, and markers if all colours are taken."""
    times, position = divmod(number, len(COLOURS))
    marker = _MARKERS[times % len(_MARKERS)]
    return {"color": COLOURS[position], "marker": marker, "markersize": 4}
