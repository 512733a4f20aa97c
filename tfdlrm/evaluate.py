"""`python -m tfdlrm.evaluate`: measures of an exported model on a data set or a log."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdlrm.base import storage
from tfdlrm.base.callable_module import make_callable
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.devices import Device, use_device
from tfdlrm.base.errors import InputError, require, require_one
from tfdlrm.base.output_file import check_output, messages_apart, output_file
from tfdlrm.base.piped_input import as_file, is_piped
from tfdlrm.base.plain_text import shorten, visible
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.unknown_values import UnknownValues

if TYPE_CHECKING:
    from tfdlrm.baselines.measures import Measures
    from tfdlrm.exporting.scorer import Scorer
    from tfdlrm.metrics.binary import BinaryMetrics

PICTURE_FORMATS = (".pdf", ".png", ".svg")


@dataclass(frozen=True)
class EvaluateCommand:
    """Print accuracy, AUC, log loss, normalized entropy and calibration per split.

    Args:
        model: SavedModel directory, such as saved_models/dlrm/1, or the directory of
            its versions for the newest.
        data_dir: Data set directory written by `pipelines.prepare`.
        splits: Splits to measure; null means those held out from training that have
            rows.
        output_file: JSON file that also gets the measures, and with raw the share of
            unknown values of each column; with `-` they go to standard output, and the
            table to standard error.
        plot: Picture to write, such as scores.png: predicted and observed click rates,
            scores by class, ROC, precision and recall, and gain.
        device: Device that computes: `cpu` leaves a GPU to training, and takes larger
            models; `gpu` is for many rows.
        raw: Raw file with labels, or a folder of such files, instead of data_dir. It
            has the format that the model's data set was prepared from; ids come from
            the model's own vocabularies. A pipe, or `-` for standard input, is first
            copied to a temporary file.
    """

    model: Path
    data_dir: Path | None = None
    splits: tuple[str, ...] | None = None
    output_file: Path | None = None
    plot: Path | None = None
    raw: Path | None = None
    device: Device = "cpu"

    def __post_init__(self) -> None:
        expected = "a data set directory, or a raw log"
        require_one(expected, data_dir=self.data_dir, raw=self.raw)
        if self.raw is not None and self.splits:
            raise InputError("splits goes with data_dir: a raw log has none")
        if self.plot is not None:
            expected = f"a name that ends in one of {', '.join(PICTURE_FORMATS)}"
            require(self.plot.suffix in PICTURE_FORMATS, "plot", self.plot, expected)
            is_apart = self.plot != self.output_file
            require(is_apart, "plot", self.plot, "another file than output_file")


def evaluate(
    model: Path | str,
    data_dir: Path | str | None = None,
    *,
    raw: Path | str | None = None,
    splits: Sequence[str] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the measures of an exported model, as `--output_file` has them.

    Args:
        model: SavedModel directory, or the directory of its versions for the newest.
        data_dir: Data set directory.
        raw: A log with labels instead of `data_dir`.
        splits: Splits to measure; `None` means those held out from training.

    Returns:
        For each split, or for `raw`, its measures by name: `rows`, `base_rate`,
        `accuracy`, `auc`, `log_loss` and others; `raw` also has the shares of unknown
        values.

    Raises:
        InputError: If the model, the data set or a split of it, or the log cannot be
            used.
    """
    for name, path in (("data_dir", data_dir), ("raw", raw)):
        if path is not None and not isinstance(path, Path | str):
            raise InputError(
                f"{name} is {shorten(repr(path), 40)}, expected a path; a DataFrame is "
                "measured by tfdlrm.load(model).evaluate(frame)"
            )
    command = EvaluateCommand(
        storage.at(model),
        data_dir=None if data_dir is None else storage.at(data_dir),
        raw=None if raw is None else storage.at(raw),
        splits=None if splits is None else tuple(splits),
    )
    return _measure(command, *_open(command)).measures


@dataclass(frozen=True)
class _Evaluation:
    """What a command measured.

    Args:
        scorer: The model.
        schema: Schema of the data set; `None` of a log.
        scores: Labels and probabilities by split.
        metrics: Measures by split.
        unknown: The counts of unknown values of a log.
        baselines: Measures of simple models by split, if the model has them.
    """

    scorer: "Scorer"
    schema: FeatureSchema | None
    scores: dict[str, tuple[Any, Any]]
    metrics: "dict[str, BinaryMetrics]"
    unknown: UnknownValues | None
    baselines: "Measures"

    @property
    def measures(self) -> dict[str, dict[str, Any]]:
        """The measures as plain values."""
        from tfdlrm.baselines.measures import as_json
        from tfdlrm.metrics.splits import measures_by_split

        measures = measures_by_split(self.metrics, self.scorer.schema.dialect)
        for split, baselines in as_json(self.baselines).items():
            measures[split]["baselines"] = baselines
        if self.unknown is not None:
            measures["raw"] |= self.unknown.to_json()
        return measures


def _open(command: EvaluateCommand) -> "tuple[Scorer, FeatureSchema | None]":
    """Return the model and the schema of the data set, if there is one."""
    schema = None
    if command.data_dir is not None:
        schema = FeatureSchema.load(command.data_dir)
        if not command.splits and not schema.held_out_splits:
            raise InputError(
                f"{command.data_dir} holds out no rows: prepare it with some, or name "
                "--splits train"
            )

    from tfdlrm.exporting.scorer import load_scorer

    return load_scorer(command.model), schema


def _measure(
    command: EvaluateCommand, scorer: "Scorer", schema: FeatureSchema | None
) -> _Evaluation:
    from tfdlrm.metrics.binary import binary_metrics
    from tfdlrm.runs.scorer_with_baselines import ScorerWithBaselines

    scorer = ScorerWithBaselines.of(scorer)
    scores, unknown = _score(command, scorer, schema)
    metrics = {split: binary_metrics(*values) for split, values in scores.items()}
    baselines = scorer.measures(
        {split: labels for split, (labels, _) in scores.items()}
    )
    return _Evaluation(scorer, schema, scores, metrics, unknown, baselines)


def evaluate_model(command: EvaluateCommand) -> None:
    """Print the tables and write the JSON and the picture that `command` asks for.

    Raises:
        InputError: If the model, the data set or a split of it, or the log cannot be
            used.
    """
    _check_outputs(command)
    scorer, schema = _open(command)
    print(f"Scoring with {scorer.path} on {scorer.device}")
    evaluation = _measure(command, scorer, schema)
    from tfdlrm.metrics.splits import against_reachable, as_table

    dialect = scorer.schema.dialect
    print(f"{scorer.path} on {command.data_dir or command.raw} ({dialect} dialect)\n")
    print(as_table(evaluation.metrics))
    if schema is not None and schema.reachable:
        print(f"\n{against_reachable(evaluation.metrics, schema.reachable)}")
    if evaluation.baselines:
        from tfdlrm.baselines.measures import describe

        name = scorer.path.resolve().parent.name
        print(f"\n{describe(name, evaluation.metrics, evaluation.baselines)}")
    if evaluation.unknown is not None:
        _report(evaluation.unknown)
    if command.output_file is not None:
        with output_file("output_file", command.output_file) as file:
            file.write(storage.as_json(evaluation.measures))
    if command.plot is not None:
        data = command.data_dir or command.raw
        assert data is not None
        rows = "a pipe" if is_piped(data) else data.resolve().name
        title = f"{scorer.path} on {rows}"
        _plot(command.plot, title, evaluation.scores, evaluation.metrics)


def _check_outputs(command: EvaluateCommand) -> None:
    inputs = {"model": command.model, "data_dir": command.data_dir, "raw": command.raw}
    for name, output in (("output_file", command.output_file), ("plot", command.plot)):
        if output is None:
            continue
        check_output(name, output, **inputs)
        if not output.parent.is_dir():
            raise InputError(f"{output.parent} is no directory: make it first")


def _score(
    command: EvaluateCommand, scorer: "Scorer", schema: FeatureSchema | None
) -> tuple[dict[str, tuple[Any, Any]], UnknownValues | None]:
    """Return labels and probabilities by split, or those of the log as `raw`.

    With a log, also return the counts of its unknown values.
    """
    if command.raw is not None:
        from tfdlrm.exporting.raw_scores import score_log

        with as_file("raw", command.raw) as path:
            log = score_log(scorer, path)
        return {"raw": (log.labels, log.probabilities)}, log.unknown
    from tfdlrm.exporting.scorer import check_columns
    from tfdlrm.metrics.splits import score_splits

    assert schema is not None and command.data_dir is not None
    check_columns(scorer.schema, schema, scorer.path, command.data_dir)
    return score_splits(scorer, command.data_dir, schema, command.splits), None


def _report(unknown: UnknownValues) -> None:
    """Print the shares of unknown values, and warn where they are unusual."""
    if unknown.shares:
        print(f"\n{unknown.as_table()}")
    for line in unknown.report():
        print(visible(line), file=sys.stderr)


def _plot(
    path: Path,
    title: str,
    scores: dict[str, tuple[Any, Any]],
    metrics: "dict[str, BinaryMetrics]",
) -> None:
    from tfdlrm.base.figures import save_picture
    from tfdlrm.metrics.binary import reliability
    from tfdlrm.metrics.score_histogram import ScoreHistogram
    from tfdlrm.metrics.score_pictures import draw_evaluation

    bins = {split: reliability(*values) for split, values in scores.items()}
    rows = {split: ScoreHistogram.of(*values) for split, values in scores.items()}
    try:
        save_picture(lambda: draw_evaluation(metrics, bins, rows, title), path)
    except OSError as error:
        raise InputError(
            f"plot {path} cannot be written: {error.strerror or error}; expected a "
            "writable directory with room for it"
        ) from error
    print(f"\nReliability, scores, ROC, precision and gain: {path}")


def main() -> None:
    command = parse(EvaluateCommand, "tfdlrm.evaluate", renamed={"json": "output_file"})
    use_device(command.device)
    with messages_apart(command.output_file):
        evaluate_model(command)


make_callable(__name__)

if __name__ == "__main__":
    run_command(main)
