"""The trained model: in one place again, and measured."""

from pathlib import Path

import keras
import tensorflow as tf

from tfdlrm.base import storage
from tfdlrm.checkpoints.variables import copy_weights
from tfdlrm.config import TrainConfig
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.layers._fused_tables import join_tables
from tfdlrm.metrics.binary import (
    BinaryMetrics,
    Reliability,
    binary_metrics,
    reliability,
)
from tfdlrm.metrics.score_histogram import ScoreHistogram
from tfdlrm.metrics.splits import (
    EVALUATION_BATCH_SIZE,
    against_reachable,
    as_table,
    measures_by_split,
    score_splits,
)
from tfdlrm.models.ensemble import build_ensemble
from tfdlrm.training.fit import probabilities_of
from tfdlrm.training.run_directory import RunDirectory


def on_one_device(
    model: keras.Model, config: TrainConfig, schema: FeatureSchema
) -> keras.Model:
    """Return the model with ordinary tables, as it is measured and served."""
    if join_tables(model):
        return model
    with tf.device("CPU:0"):  # to which pieces of the tables go one by one
        joined_model = build_ensemble(schema, config.model, config.ensemble)
    copy_weights(model, joined_model)
    return joined_model


def measure(
    model: keras.Model, data_dir: Path, schema: FeatureSchema
) -> tuple[dict[str, BinaryMetrics], dict[str, Reliability], dict[str, ScoreHistogram]]:
    """Return measures, reliability and scores of each split that was held out."""
    # Batches of all splits have the same types.
    batches = read_split(data_dir, schema, "train", EVALUATION_BATCH_SIZE)
    scored = score_splits(probabilities_of(model, batches), data_dir, schema)
    metrics = {split: binary_metrics(*scores) for split, scores in scored.items()}
    bins = {split: reliability(*scores) for split, scores in scored.items()}
    scores = {split: ScoreHistogram.of(*scores) for split, scores in scored.items()}
    return metrics, bins, scores


def show(
    metrics: dict[str, BinaryMetrics], schema: FeatureSchema, run: RunDirectory
) -> None:
    """Print the measures, and write them into the run."""
    storage.replace_json(run.measures_file, measures_by_split(metrics, schema.dialect))
    print(f"\n{as_table(metrics)}\n")
    if schema.reachable:
        print(f"{against_reachable(metrics, schema.reachable)}\n")
