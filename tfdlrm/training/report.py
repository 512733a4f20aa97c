"""The report of a run: its measures in words and its curves and scores in pictures."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tfdlrm.base import storage
from tfdlrm.base.figures import save_picture
from tfdlrm.metrics.binary import BinaryMetrics, Reliability
from tfdlrm.metrics.score_histogram import ScoreHistogram
from tfdlrm.metrics.score_pictures import draw_reliability, draw_scores
from tfdlrm.metrics.splits import as_table
from tfdlrm.training.curve_picture import CurveMarks, draw_curves
from tfdlrm.training.curves import CurvePoint
from tfdlrm.training.events import write_results

PICTURES = {
    "curves.png": "Loss, accuracy, AUC and learning rate over training steps",
    "reliability.png": "Observed over predicted click rates",
    "scores.png": "Scores by class, ROC, precision and recall, gain",
}
"""The pictures of a report, and what they show."""


def write_report(
    directory: Path,
    points: Sequence[CurvePoint],
    metrics: dict[str, BinaryMetrics],
    bins: dict[str, Reliability],
    scores: dict[str, ScoreHistogram],
    marks: CurveMarks,
    description: dict[str, str],
    tables: str = "",
    simple_models: str = "",
) -> Path:
    """Write `report.md` and the pictures that it shows.

    Args:
        directory: The directory of the run.
        points: The learning curves.
        metrics: Final measures of each split.
        bins: Final predicted and observed click rates of each split; may be empty.
        scores: Final scores of each split; may be empty.
        marks: What the picture of the curves shows besides them.
        description: Other facts for the report, by name.
        tables: Markdown about the rows of tables that a warm start carried over.
        simple_models: Markdown about what simple models reach on the same rows.

    Returns:
        The report's path.
    """
    drawings = {"curves.png": partial(draw_curves, points, marks)}
    if bins:
        drawings["reliability.png"] = partial(draw_reliability, bins)
        drawings["scores.png"] = partial(draw_scores, scores, marks.title)
    for name, draw in drawings.items():
        save_picture(draw, directory / name)
    write_results(
        directory / "events",
        marks.kept_step,
        metrics,
        [directory / name for name in drawings],
    )
    pictures = "\n".join(f"![{PICTURES[name]}]({name})\n" for name in drawings)
    facts = "\n".join(f"- {name}: {value}" for name, value in description.items())
    report = directory / "report.md"
    measures = as_table(metrics)
    if simple_models:
        measures += f"\n\n{simple_models}"
    if tables:
        pictures += f"\n## Rows of tables\n\n{tables}\n"
    storage.replace_text(
        report, f"# Training run\n\n{facts}\n\n{measures}\n\n{pictures}"
    )
    return report
