"""A comparison of runs as a figure, a table, JSON, and one page with all of them."""

import base64
import html
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfdlrm.base import storage
from tfdlrm.base.figures import save_figure
from tfdlrm.comparison.runs import FinishedRun, Spread, indistinguishable

COLUMNS = (
    "model, optimizer",
    "learning rate",
    "seeds",
    "AUC",
    "log loss",
    "norm. entropy",
    "accuracy",
    "parameters",
    "samples/s",
    "peak memory",
)
TITLE = "Models side by side"


def write_comparison(
    output: Path,
    contenders: Sequence[Sequence[FinishedRun]],
    num_seeds: int,
    how: str,
) -> Path:
    """Write `accuracy.png`, `report.md`, `report.json` and `report.html`.

    Args:
        output: The directory to write into.
        contenders: For each model and optimizer, one run a seed, without the runs that
            diverged.
        num_seeds: Number of seeds, with those that diverged.
        how: A description of the training in a sentence or two.

    Returns:
        Path of `report.html`, which needs no other file.
    """
    picture = output / "accuracy.png"
    plot_accuracy(contenders, picture)
    rows = [_row(runs, num_seeds) for runs in contenders]
    verdict = _verdict(contenders, num_seeds)
    split = f"Measures of the {contenders[0][0].split} rows."
    storage.replace_json(
        output / "report.json", [_as_json(runs) for runs in contenders]
    )
    storage.replace_text(
        output / "report.md",
        f"# {TITLE}\n\n{how}\n\n{_markdown(rows)}\n\n{split} {verdict}\n\n"
        f"![{_CAPTION}]({picture.name})\n",
    )
    page = output / "report.html"
    storage.replace_text(
        page,
        _PAGE.format(
            title=TITLE,
            how=html.escape(how),
            table=_html_table(rows),
            verdict=html.escape(f"{split} {verdict}"),
            caption=_CAPTION,
            picture=base64.b64encode(picture.read_bytes()).decode(),
        ),
    )
    return page


def plot_accuracy(contenders: Sequence[Sequence[FinishedRun]], path: Path) -> None:
    """Draw accuracy over steps of the first seed: training solid, validation dashed."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axis = figure.subplots()
    for number, (run, *_) in enumerate(contenders):
        for split, style in (("train", "-"), ("validation", "--")):
            points = [point for point in run.curves if point["split"] == split]
            axis.plot(
                [point["step"] for point in points],
                [point["accuracy"] for point in points],
                style,
                color=f"C{number}",
                label=run.label if split == "train" else None,
            )
    axis.set(xlabel="training steps", ylabel="accuracy", title=_CAPTION)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axis.grid(alpha=0.3)
    axis.legend()
    save_figure(figure, path)


def _measure(runs: Sequence[FinishedRun], name: str) -> Spread:
    return Spread.of([run.metrics[run.split][name] for run in runs])


def _row(runs: Sequence[FinishedRun], num_seeds: int) -> list[str]:
    rates = [run.samples_per_second for run in runs if run.samples_per_second]
    return [
        runs[0].label,
        f"{runs[0].config.optimizer.learning_rate:g}",
        str(num_seeds) if len(runs) == num_seeds else f"{len(runs)} of {num_seeds}",
        *(
            f"{_measure(runs, name):.4f}"
            for name in ("auc", "log_loss", "normalized_entropy", "accuracy")
        ),
        f"{runs[0].parameters:,}",
        f"{Spread.of(rates).mean:,.0f}" if rates else "-",
        f"{max(run.peak_memory for run in runs) / 1e9:.2f} GB",
    ]


def _verdict(contenders: Sequence[Sequence[FinishedRun]], num_seeds: int) -> str:
    """Return sentences about which model is best, as far as the measures show it."""
    if num_seeds == 1:
        return "One seed shows no spread, so this is no ranking."
    ranked = [runs for runs in contenders if len(runs) == num_seeds]
    diverged = [runs[0].label for runs in contenders if len(runs) < num_seeds]
    sentences = [f"Mean ± standard deviation over {num_seeds} seeds."]
    if diverged:
        sentences.append(
            "Some seeds diverged: means leave these seeds out, and the ranking leaves "
            f"out {'; '.join(diverged)}."
        )
    if len(ranked) > 1:
        spreads = {runs[0].label: _measure(runs, "auc") for runs in ranked}
        if not all(math.isfinite(spread.mean) for spread in spreads.values()):
            split = ranked[0][0].split
            sentences.append(f"All {split} rows have one label: there is no AUC.")
            return " ".join(sentences)
        best, *rivals = indistinguishable(spreads, highest=True)
        sentences.append(
            f"By AUC the spread does not distinguish {best} and {', '.join(rivals)}."
            if rivals
            else f"By AUC {best} is ahead of all others by more than the spread."
        )
    return " ".join(sentences)


def _as_json(runs: Sequence[FinishedRun]) -> dict[str, Any]:
    return {
        "name": runs[0].label,
        "learning_rate": runs[0].config.optimizer.learning_rate,
        "model": asdict(runs[0].config.model),
        "parameters": runs[0].parameters,
        "runs": [
            {
                "seed": run.config.seed,
                "metrics": run.metrics,
                "samples_per_second": run.samples_per_second,
                "peak_memory": run.peak_memory,
                "curves": run.curves,
            }
            for run in runs
        ],
    }


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [COLUMNS, ("---", *("---:" for _ in COLUMNS[1:])), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _html_table(rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in COLUMNS)
    body = "\n".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
        for row in rows
    )
    return f"<table>\n<tr>{head}</tr>\n{body}\n</table>"


_CAPTION = "Accuracy over training steps: training solid, validation dashed"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto;
        padding: 0 1rem; color: #222; background: #fff; }}
div {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums;
         font-size: .875rem; }}
th, td {{ padding: .35rem .375rem; text-align: right; border-bottom: 1px solid #ddd;
          white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; }}
img {{ max-width: 100%; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{how}</p>
<div>
{table}
</div>
<p>{verdict}</p>
<img alt="{caption}" src="data:image/png;base64,{picture}">
</body>
</html>
"""
