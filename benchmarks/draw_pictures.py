"""`python -m benchmarks.draw_pictures`: the pictures of results in the documentation.

The numbers come from `docs/quality.md`, and the curves from a run, so that no picture
says what was not measured. Each is written in a light and a dark form, as SVG.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from tfdlrm.base import storage
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import InputError
from tfdlrm.base.figure_style import COLOURS, STYLE, panels

_INK, _PAPER = "#1f2328", "#ffffff"
_DARK = {
    _INK: "#e6e9ee",
    _PAPER: "#1b1f26",
    **dict(
        zip(
            map(str.lower, COLOURS),
            (
                "#4da6e8",
                "#f58a4b",
                "#2fc89f",
                "#e6a0c8",
                "#f0b63c",
                "#9ad4f7",
                "#a8a8a8",
            ),
            strict=True,
        )
    ),
}
"""What each colour becomes on a dark page."""

_DAILY = {
    "truth": ("planted truth", COLOURS[6], ":"),
    "warm": ("learns every day", COLOURS[0], "-"),
    "cold": ("only the day before", COLOURS[2], "-."),
    "frozen": ("only the first day", COLOURS[1], "--"),
}
"""Columns of the daily table, and how their lines are named and look."""


@dataclass(frozen=True)
class DrawCommand:
    """Draw the pictures of the documentation again.

    Args:
        quality: The page with the measured numbers.
        output: Directory of the pictures.
        run: Directory of a finished run, whose curves and scores are drawn too.
    """

    quality: Path = Path("docs/quality.md")
    output: Path = Path("docs/pictures")
    run: Path | None = None


def draw_pictures(command: DrawCommand) -> None:
    """Write all pictures.

    Raises:
        InputError: If the page lacks a table, or the run cannot be used.
    """
    text = command.quality.read_text("utf-8")
    _write_both(partial(draw_results, text), command.output / "results")
    if command.run is not None:
        for name, draw in _drawings_of_run(command.run).items():
            _write_both(draw, command.output / name)


def draw_results(text: str) -> Figure:
    """Draw the AUC of models on real rows, and that of daily learning.

    Args:
        text: The page with the measured numbers.
    """
    figure, axes = panels(1, 2, 10, 4.2)
    _draw_models(axes[0, 0], text)
    _draw_days(axes[0, 1], text)
    return figure


def _draw_models(axis: Any, text: str) -> None:
    """Draw a dot a model with the spread over seeds, and peers as diamonds."""
    rows = {
        row["model"].strip("`"): _spread(row["AUC"])
        for row in table_of(text, "Few real rows", "model")
    }
    (left_out,) = [name for name, (auc, _) in rows.items() if auc < 0.7]
    left_out_auc, _ = rows.pop(left_out)
    rows |= {
        f"{name} *": (_number(text, pattern), None)
        for name, pattern in (
            ("LightGBM", r"LightGBM on target encodings,\s+(\d\.\d+)"),
            ("PyTorch DLRM", r"PyTorch reference's DLRM\s+reaches\s+(\d\.\d+)"),
        )
    }
    order = sorted(rows.items(), key=lambda row: row[1][0])
    for position, (_, (auc, deviation)) in enumerate(order):
        is_peer = deviation is None
        look = {"fmt": "D", "color": COLOURS[6]} if is_peer else {"color": COLOURS[0]}
        axis.errorbar(auc, position, xerr=deviation, capsize=3, **{"fmt": "o", **look})
        axis.text(
            0.7745,
            position,
            f"{auc:.3f}" if is_peer else f"{auc:.4f}",
            va="center",
            ha="right",
        )
    axis.set_yticks(range(len(order)), [name for name, _ in order])
    axis.grid(axis="y", visible=False)
    axis.set(
        title="52,976 rows of Criteo, five seeds",
        xlabel=f"AUC on test rows ({left_out}: {left_out_auc:.4f}; * other systems)",
        xlim=(0.758, 0.775),
        xticks=(0.76, 0.765, 0.77),
    )


def _draw_days(axis: Any, text: str) -> None:
    """Draw a line of AUC over days for each way to learn, with its name at the end."""
    *days, mean = table_of(text, "Day by day", "day")
    for column, (name, colour, line) in _DAILY.items():
        values = [_spread(day[column])[0] for day in days]
        numbers = [int(day["day"]) for day in days]
        average, _ = _spread(mean[column])
        axis.plot(numbers, values, linestyle=line, marker=".", color=colour)
        axis.text(
            numbers[-1] + 0.3,
            values[-1],
            f"{name}\n{average:.4f}",
            color=colour,
            va="center",
        )
    axis.set(
        title="learning day by day, and means from day 3",
        xlabel="day of a log that drifts, three seeds",
        ylabel="AUC on the day, before learning it",
        xlim=(1.7, 16),
        xticks=(2, 4, 6, 8, 10),
    )


def table_of(text: str, section: str, first_column: str) -> list[dict[str, str]]:
    """Return the rows of the first such table in a section of a Markdown page.

    Args:
        text: The page.
        section: Heading of the section.
        first_column: Name of the table's first column.

    Raises:
        InputError: If there is no such table.
    """
    _, _, rest = text.partition(f"\n## {section}\n")
    lines = iter(rest.partition("\n## ")[0].splitlines())
    for line in lines:
        names = _cells(line)
        if names and names[0] == first_column:
            next(lines)  # the line of dashes
            break
    else:
        raise InputError(
            f"section {section!r} has no table whose first column is {first_column!r}: "
            "put back its numbers"
        )
    rows = []
    for line in lines:
        if not (cells := _cells(line)):
            break
        rows.append(dict(zip(names, cells, strict=True)))
    return rows


def _cells(line: str) -> list[str]:
    if not line.startswith("|"):
        return []
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _spread(cell: str) -> tuple[float, float | None]:
    mean, _, deviation = cell.partition(" ± ")
    return float(mean), float(deviation)


def _number(text: str, pattern: str) -> float:
    match = re.search(pattern, text)
    if match is None:
        raise InputError(f"nothing matches {pattern}: put back its number")
    return float(match[1])


def _drawings_of_run(directory: Path) -> dict[str, Callable[[], Figure]]:
    """Return the functions that draw the curves and the scores of a run."""
    from tfdlrm.data.schema import FeatureSchema
    from tfdlrm.exporting.scorer import load_scorer
    from tfdlrm.metrics.score_histogram import ScoreHistogram
    from tfdlrm.metrics.score_pictures import draw_scores
    from tfdlrm.metrics.splits import score_splits
    from tfdlrm.training.curve_picture import CurveMarks, draw_curves
    from tfdlrm.training.curves import CurvePoint
    from tfdlrm.training.early_stopping import kept_step
    from tfdlrm.training.run_directory import RunDirectory

    run = RunDirectory(directory)
    config = run.load_config()
    assert config.data_dir is not None
    schema = FeatureSchema.load(config.data_dir)
    points = [CurvePoint(**point) for point in run.load_curves()]
    marks = CurveMarks(
        title=f"{config.model.name} on {config.data_dir.name}, {config.optimizer.name}",
        steps_per_epoch=-(-schema.num_rows("train") // config.batch_size),
        kept_step=kept_step(points, config.early_stopping) or points[-1].step,
    )
    scorer = load_scorer(Path(run.load_summary()["model"]))
    scored = score_splits(scorer, config.data_dir, schema)
    scores = {split: ScoreHistogram.of(*rows) for split, rows in scored.items()}
    return {
        "curves": partial(draw_curves, points, marks),
        "scores": partial(draw_scores, scores, marks.title),
    }


def _write_both(draw: Callable[[], Figure], stem: Path) -> None:
    """Write a picture as `…_light.svg` and `…_dark.svg`."""
    style: dict[Any, Any] = {
        **STYLE,
        "svg.hashsalt": stem.name,
        **dict.fromkeys(
            ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color",
             "ytick.color"), _INK,
        ),
    }  # fmt: skip
    file = io.StringIO()
    with matplotlib.rc_context(style):
        draw().savefig(file, format="svg", metadata={"Date": None})
    light = file.getvalue()
    dark = re.sub("|".join(_DARK), lambda colour: _DARK[colour[0]], light)
    for form, svg in (("light", light), ("dark", dark)):
        path = stem.with_name(f"{stem.name}_{form}.svg")
        storage.replace_text(path, re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE))
        print(path)


def main() -> None:
    draw_pictures(parse(DrawCommand, "benchmarks.draw_pictures"))


if __name__ == "__main__":
    run_command(main)
