"""The report of a search: its best trial, a picture and the table of trials."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tfdlrm.base import storage
from tfdlrm.base.figures import save_picture
from tfdlrm.base.plain_text import markdown
from tfdlrm.config.tuning import TuneConfig
from tfdlrm.tuning.best_settings import BEST_FILE
from tfdlrm.tuning.dimensions import Dimension
from tfdlrm.tuning.outcome import FinishedTrial
from tfdlrm.tuning.picture import MOST_SETTINGS, TrialPicture
from tfdlrm.tuning.table import TrialTable

REPORT_FILE = "report.md"
PICTURE_FILE = "trials.png"


def write_report(
    config: TuneConfig,
    trials: Sequence[FinishedTrial],
    best: FinishedTrial,
    dimensions: Mapping[str, Dimension],
) -> Path:
    """Write the report and its picture, and return the path of the report.

    Args:
        config: The settings of the command.
        trials: The finished trials.
        best: The best of them.
        dimensions: The settings that were searched.
    """
    measure = config.metric.replace("_", " ").replace("auc", "AUC")
    picture = TrialPicture(
        trials,
        best,
        config.metric,
        dimensions,
        config.evaluations_per_epoch,
        f"{len(trials)} trials on {Path(str(config.data_dir)).name}",
    )
    save_picture(picture.draw, config.output / PICTURE_FILE)
    states = [trial.outcome.state for trial in trials]
    sign = -1 if config.metric == "auc" else 1
    table = TrialTable(list(dimensions)).markdown(
        sorted(
            trials,
            key=lambda trial: (
                trial.outcome.state != "complete",
                trial.outcome.state != "pruned",
                sign * trial.outcome.value(config.metric),
            ),
        )
    )
    left_out = (
        f" The picture shows the first {MOST_SETTINGS} of {len(dimensions)} settings."
        if len(dimensions) > MOST_SETTINGS
        else ""
    )
    path = config.output / REPORT_FILE
    storage.replace_text(
        path,
        f"# Search on {markdown(str(config.data_dir))}\n\n"
        f"{len(trials)} trials, {states.count('complete')} complete, "
        f"{states.count('pruned')} pruned, {states.count('failed')} failed. The best "
        f"by {measure} of the validation rows is trial {best.number}; its settings are "
        f"in [{BEST_FILE}]({BEST_FILE}). It was chosen by these rows, so that it may "
        "be worse on others; no test row was read.\n\n"
        f"![The trials in turn, their validation curves, and each setting]"
        f"({PICTURE_FILE})\n\n"
        "Trials that are far behind are drawn on the edge. Those that are pruned have "
        f"the measures of their last point.{left_out}\n\n"
        f"{table}\n",
    )
    return path
