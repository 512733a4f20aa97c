"""The looks that all pictures of measures share."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from tfdlrm.base.plain_text import shorten

LABEL_WIDTH = 80

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#7F7F7F",
)
"""Okabe and Ito's colours, which differ to people with any colour vision, and grey."""

SPLIT_LOOKS: Mapping[str, dict[str, Any]] = {
    "train": {"color": COLOURS[0], "linestyle": "-"},
    "validation": {"color": COLOURS[1], "linestyle": "--"},
    "test": {"color": COLOURS[2], "linestyle": "-"},
    "raw": {"color": COLOURS[0], "linestyle": "-"},
}
"""Colour and line of each split, and of a raw log."""

STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.3,
    "legend.fontsize": 10,
    "legend.framealpha": 0.8,
    "legend.edgecolor": "none",
}
"""Matplotlib's settings while a picture is drawn."""


def label(text: str) -> str:
    """Return text that Matplotlib draws as it is.

    Formulas begin with a dollar sign; a label that begins with `_` is left out.

    Example:

    >>> label("_costs in $")
    ' _costs in \\\\$'
    """
    text = shorten(text, LABEL_WIDTH).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    """Return an empty figure, and its panels as an array.

    Args:
        rows: Panels on top of each other.
        columns: Panels side by side.
        width: Width in inches.
        height: Height in inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)
