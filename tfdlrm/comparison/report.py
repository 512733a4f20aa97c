"""A comparison of runs as a figure, a table, JSON, and one page with all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tfdlrm.base import storage
from tfdlrm.base.figures import save_picture
from tfdlrm.base.plain_text import markdown, visible
from tfdlrm.comparison.curve_pictures import CURVE_PICTURES
from tfdlrm.comparison.page import page_of
from tfdlrm.comparison.runs import FinishedRun, Spread
from tfdlrm.comparison.verdict import measure_of, verdict_of
from tfdlrm.metrics.binary import BinaryMetrics, measure_text

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
    baselines: Mapping[str, BinaryMetrics] | None = None,
    labels: np.ndarray | None = None,
) -> Path:
    """Write `report.md` with its pictures, `report.json` and `report.html`.

    Args:
        output: The directory to write into.
        contenders: For each model and optimizer, one run a seed, without the runs that
            diverged.
        num_seeds: Number of seeds, with those that diverged.
        how: A description of the training in a sentence or two.
        baselines: Measures of simple models on the same rows, by their names.
        labels: Labels of the rows that the runs have scores of.

    Returns:
        Path of `report.html`, which needs no other file.
    """
    for picture in CURVE_PICTURES:
        save_picture(partial(picture.draw, contenders), output / picture.file_name)
    rows = [_row(runs, num_seeds) for runs in contenders]
    rows += [_baseline_row(name, values) for name, values in (baselines or {}).items()]
    verdict = verdict_of(contenders, num_seeds, labels)
    split = f"Measures of the {contenders[0][0].split} rows."
    storage.replace_json(
        output / "report.json", [_as_json(runs) for runs in contenders]
    )
    storage.replace_text(
        output / "report.md",
        f"# {TITLE}\n\n{how}\n\n{_markdown(rows)}\n\n{split} {verdict}\n\n"
        + "\n".join(f"![{p.caption}]({p.file_name})\n" for p in CURVE_PICTURES),
    )
    page = output / "report.html"
    storage.replace_text(
        page,
        page_of(contenders, TITLE, how, COLUMNS, rows, f"{split} {verdict}"),
    )
    return page


def _row(runs: Sequence[FinishedRun], num_seeds: int) -> list[str]:
    rates = [run.samples_per_second for run in runs if run.samples_per_second]
    return [
        runs[0].label,
        f"{runs[0].config.optimizer.learning_rate:g}",
        str(num_seeds) if len(runs) == num_seeds else f"{len(runs)} of {num_seeds}",
        *(
            f"{measure_of(runs, name):.4f}"
            for name in ("auc", "log_loss", "normalized_entropy", "accuracy")
        ),
        f"{runs[0].parameters:,}",
        f"{Spread.of(rates).mean:,.0f}" if rates else "-",
        f"{max(run.peak_memory for run in runs) / 1e9:.2f} GB",
    ]


def _baseline_row(name: str, values: BinaryMetrics) -> list[str]:
    measures = [values.auc, values.log_loss, values.normalized_entropy, values.accuracy]
    return [visible(name), "-", "-", *map(measure_text, measures), "-", "-", "-"]


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
    return "\n".join(
        f"| {' | '.join([markdown(name), *cells])} |" for name, *cells in lines
    )
