"""The results of a run, which its exported versions carry."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdlrm.config import TrainConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.results_file import (
    NUM_QUANTILES,
    Results,
    curve_points,
    describe_data,
    load_results,
)
from tfdlrm.metrics.binary import BinaryMetrics, Reliability
from tfdlrm.metrics.score_histogram import ScoreHistogram
from tfdlrm.training.run_directory import RunDirectory

if TYPE_CHECKING:
    from tfdlrm.training.curves import CurvePoint
    from tfdlrm.training.progress import Progress


def results_of(
    config: TrainConfig,
    data_dir: Path,
    schema: FeatureSchema,
    points: Sequence["CurvePoint"],
) -> Results:
    """Return what is known of a run that ends now, but for its scores.

    Args:
        config: The settings of the run.
        data_dir: Directory of the data set.
        schema: Schema of the data set.
        points: The learning curves.
    """
    trained = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    curve = [asdict(point) for point in points]
    return _of_curve(config, data_dir, schema, curve, trained)


def results_of_weights(
    run: RunDirectory,
    config: TrainConfig,
    data_dir: Path,
    schema: FeatureSchema,
    step: int,
    measures: dict[str, Any] | None,
) -> Results:
    """Return the results for weights of a run that are exported again.

    Args:
        run: The run, which may be unfinished or of an earlier release.
        config: The settings of the run.
        data_dir: Directory of the data set.
        schema: Schema of the data set.
        step: The step whose checkpoint is exported.
        measures: The measures of these weights; `None` if they are unknown.
    """
    results = load_results(run.results_file)
    if results is not None and measures is not None:
        return results
    curve = run.load_curves() if run.metrics_file.is_file() else []
    curve = [point for point in curve if point["step"] <= step]
    results = _of_curve(config, data_dir, schema, curve, None)
    return replace(results, measures=measures or {})


def progress_of(
    run: RunDirectory,
    config: TrainConfig,
    schema: FeatureSchema,
    state: Mapping[str, Any],
) -> "Progress":
    """Return how far a run was trained whose weights are exported again.

    Args:
        run: The run, which may be unfinished.
        config: The settings of the run.
        schema: Schema of the data set.
        state: The state of the checkpoint that is exported.
    """
    from tfdlrm.training.curves import CurvePoint
    from tfdlrm.training.progress import Progress

    # The curves may be newer than the checkpoint, as the best weights are.
    has_curves = run.metrics_file.is_file()
    curve = run.load_curves() if has_curves else state.get("points", [])
    points = [CurvePoint.from_json(point) for point in curve]
    return Progress.of(config, schema.num_rows("train"), points, state)


def with_scores(
    results: Results,
    metrics: Mapping[str, BinaryMetrics],
    bins: Mapping[str, Reliability],
    scores: Mapping[str, ScoreHistogram],
) -> Results:
    """Return the results with the scores of the held-out rows."""
    quantiles: list[float] = []
    if "validation" in scores:
        quantiles = scores["validation"].quantiles(NUM_QUANTILES).tolist()
    return results.scored(metrics, bins, quantiles)


def _of_curve(
    config: TrainConfig,
    data_dir: Path,
    schema: FeatureSchema,
    curve: list[dict[str, Any]],
    trained: str | None,
) -> Results:
    from tfdlrm.exporting.sample_rows import sample_rows
    from tfdlrm.training.curves import CurvePoint, validation_points
    from tfdlrm.training.early_stopping import kept_step

    steps_per_epoch = -(-schema.num_rows("train") // config.batch_size)
    points = [CurvePoint.from_json(point) for point in curve]
    kept_by = None
    if config.early_stopping is not None and validation_points(points):
        kept_by = config.early_stopping.metric
    return Results(
        trained=trained,
        data=describe_data(data_dir, schema),
        curve=curve_points(curve, steps_per_epoch),
        kept_step=kept_step(points, config.early_stopping),
        kept_by=kept_by,
        examples=sample_rows(data_dir, schema),
    )
