"""Size, quality and time of a model with quantized tables, on held-out rows."""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.quantization import QuantizedTable, lookups_in
from tfdlrm.exporting.scorer import score
from tfdlrm.exporting.signatures import serving_function
from tfdlrm.layers._fused_tables import FusedTables
from tfdlrm.metrics.binary import (
    BinaryMetrics,
    Reliability,
    binary_metrics,
    measure_text,
    reliability,
)
from tfdlrm.metrics.score_histogram import ScoreHistogram
from tfdlrm.metrics.splits import score_splits

BATCH_SIZES = (1, 256)
CALLS = 200
"""The latency is the median of this number of calls."""


@dataclass(frozen=True)
class Effect:
    """Size, quality and speed of a model.

    Args:
        num_bytes: Size of its weights.
        metrics: Measures of each held-out split.
        latencies: Median seconds of a call, by its number of rows; empty if no rows
            are held out.
        bins: Reliability of each held-out split.
        scores: Scores of each held-out split.
    """

    num_bytes: int
    metrics: dict[str, BinaryMetrics]
    latencies: dict[int, float]
    bins: dict[str, Reliability] = field(default_factory=dict)
    scores: dict[str, ScoreHistogram] = field(default_factory=dict)


def measure(
    model: keras.Model,
    schema: FeatureSchema,
    data_dir: Path,
    quantized: Mapping[FusedTables, QuantizedTable] | None = None,
) -> Effect:
    """Measure a model the way `serving_default` will run it.

    Args:
        model: The model.
        schema: Schema of the data set that the model was trained on.
        data_dir: Directory of that data set.
        quantized: Tables that replace the model's own.
    """
    quantized = quantized or {}
    with lookups_in(quantized):
        function = serving_function(model, schema, checked=True)
        function.get_concrete_function()  # type: ignore[attr-defined]

    def score_features(features: dict[str, Any]) -> tf.Tensor:
        return score(function, schema, features)

    scores = score_splits(score_features, data_dir, schema)
    metrics = {
        split: binary_metrics(labels, probabilities)
        for split, (labels, probabilities) in scores.items()
    }
    latencies = {}
    if metrics:
        split = next(iter(metrics))
        features, _ = next(iter(read_split(data_dir, schema, split, max(BATCH_SIZES))))
        latencies = {
            num_rows: _latency(score_features, _repeat_rows(features, num_rows))
            for num_rows in BATCH_SIZES
        }
    num_bytes = sum(table.num_bytes for table in quantized.values()) + sum(
        weight.value.dtype.size * weight.value.shape.num_elements()
        for weight in model.weights
        if all(weight is not layer.tables[0] for layer in quantized)
    )
    return Effect(
        num_bytes,
        metrics,
        latencies,
        {split: reliability(*rows) for split, rows in scores.items()},
        {split: ScoreHistogram.of(*rows) for split, rows in scores.items()},
    )


def _repeat_rows(features: dict[str, Any], num_rows: int) -> dict[str, Any]:
    """Return `num_rows` rows, starting over after the last."""
    rows = tf.range(num_rows) % features["dense_features"].shape[0]
    return {name: tf.gather(values, rows) for name, values in features.items()}


def _latency(score: Callable[[dict[str, Any]], tf.Tensor], features: Any) -> float:
    seconds = []
    for _ in range(CALLS):
        start = time.perf_counter()
        score(features).numpy()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def as_table(effects: Mapping[str, Effect]) -> str:
    """Return a Markdown table with one line a model; the first is the baseline.

    Example:

    >>> print(as_table({"float32": Effect(8_000_000, {}, {1: 0.001, 256: 0.002})}))
    | tables | weights | 1 row | 256 rows |
    |---|---:|---:|---:|
    | float32 | 8.0 MB | 1.00 ms | 2.00 ms |
    """
    baseline = next(iter(effects.values()))
    names = [
        f"{split} {name}" for split in baseline.metrics for name in ("AUC", "log loss")
    ]
    times = [f"{rows} row{'s' if rows > 1 else ''}" for rows in baseline.latencies]
    header = ["tables", "weights", *names, *times]
    lines = [f"| {' | '.join(header)} |", f"|---|{'---:|' * (len(header) - 1)}"]
    for tables, effect in effects.items():
        cells = [tables, f"{effect.num_bytes / 1e6:,.1f} MB"]
        for split, metrics in effect.metrics.items():
            for name in ("auc", "log_loss"):
                value = getattr(metrics, name)
                change = value - getattr(baseline.metrics[split], name)
                is_compared = effect is not baseline and math.isfinite(change)
                suffix = f" ({change:+.5f})" if is_compared else ""
                cells.append(f"{measure_text(value, '.5f')}{suffix}")
        cells += [f"{1000 * seconds:.2f} ms" for seconds in effect.latencies.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
