"""Score a day with models that have not seen it; run in a process of its own."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tfdlrm.base import storage
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.devices import use_device


@dataclass(frozen=True)
class ScoreDay:
    """Measure models on a day, which is a raw log or a data set.

    Args:
        names: Names of the models.
        models: Directory of each one's version.
        output_file: JSON file to write: the measures of each model, by its name.
        raw: Raw file or folder of the day.
        data_dir: Data set of the day, instead.
        on_bad_row: Reaction to a malformed row of the log.
    """

    names: tuple[str, ...]
    models: tuple[Path, ...]
    output_file: Path
    raw: Path | None = None
    data_dir: Path | None = None
    on_bad_row: Literal["stop", "skip"] = "stop"


def score_day(command: ScoreDay) -> None:
    """Write the measures; a model that has several names is scored once.

    Raises:
        InputError: If a model or the day cannot be used.
    """
    measures = {path: _measure(command, path) for path in dict.fromkeys(command.models)}
    by_name = {
        name: measures[path]
        for name, path in zip(command.names, command.models, strict=True)
    }
    storage.replace_json(command.output_file, by_name)


def _measure(command: ScoreDay, model: Path) -> dict[str, Any]:
    from tfdlrm.daily.data_set_scores import score_data_set
    from tfdlrm.exporting.raw_scores import score_log
    from tfdlrm.exporting.scorer import load_scorer
    from tfdlrm.metrics.binary import binary_metrics

    scorer = load_scorer(model)
    if command.raw is not None:
        scores = score_log(scorer, command.raw, command.on_bad_row)
    else:
        assert command.data_dir is not None
        scores = score_data_set(scorer, command.data_dir)
    metrics = binary_metrics(scores.labels, scores.probabilities)
    shares = scores.unknown.to_json()
    return {
        **asdict(metrics),
        "warnings": scores.unknown.report()[1:],
        **{
            name: shares[name] for name in ("unknown_share", "unknown", "usual_unknown")
        },
    }


def main() -> None:
    use_device("cpu")
    score_day(parse(ScoreDay, "tfdlrm.daily.scoring"))


if __name__ == "__main__":
    run_command(main)
