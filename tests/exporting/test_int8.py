"""Models whose tables are int8, and the command's report on them."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.support.served import Served
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting import scorer
from tfdlrm.layers._int8_rows import quantize_rows
from tfdlrm.metrics.binary import binary_metrics
from tfdlrm.predict import PredictCommand, predict


def test_a_row_of_int8_is_off_by_half_a_scale_at_most():
    rng = np.random.default_rng(0)
    values = rng.normal(0, rng.lognormal(0, 3, (1000, 1)), (1000, 16)).astype("float32")
    values[5] = 0
    rows, scales = quantize_rows(values)
    assert rows.dtype == np.int8
    restored = rows.astype("float64") * scales[:, None]
    error = np.abs(restored - values).max(axis=1)
    assert (error <= 0.5001 * np.abs(values).max(axis=1) / 127).all()
    assert not restored[5].any()


def test_int8_tables_are_all_that_is_written(exported, int8_exported):
    variables = {
        version: dict(tf.train.list_variables(str(version / "variables" / "variables")))
        for version in (exported, int8_exported[0])
    }
    weights = {
        name: tf.train.load_variable(
            str(int8_exported[0] / "variables" / "variables"), name
        )
        for name in variables[int8_exported[0]]
        if "quantized" in name
    }
    num_rows = sum(FeatureSchema.load(exported / "assets.extra").vocabulary_sizes)
    dtypes_and_shapes = sorted(
        (variable.dtype.name, variable.shape) for variable in weights.values()
    )
    assert dtypes_and_shapes == [("float32", (num_rows,)), ("int8", (num_rows, 8))]
    assert [num_rows, 8] in variables[exported].values()
    floats = [name for name in variables[int8_exported[0]] if name not in weights]
    assert [num_rows, 8] not in [variables[int8_exported[0]][name] for name in floats]


def test_int8_scores_hardly_differ_and_the_command_tells(
    exported, int8_exported, small_config
):
    version, output = int8_exported
    schema = FeatureSchema.load(small_config.data_dir)
    (batch,) = read_split(small_config.data_dir, schema, "test", 10_000)
    labels = batch[1].numpy().ravel()
    float_probabilities, int8_probabilities = (
        scorer.load_scorer(path)(batch[0]).numpy().ravel()
        for path in (exported, version)
    )
    assert 0 < np.abs(float_probabilities - int8_probabilities).max() < 0.02
    aucs = [
        binary_metrics(labels, scores).auc
        for scores in (float_probabilities, int8_probabilities)
    ]
    float_row, int8_row = (
        next(line for line in output.splitlines() if line.startswith(f"| {name} |"))
        for name in ("float32", "int8")
    )
    assert f"| {aucs[0]:.5f} |" in float_row
    assert f"| {aucs[1]:.5f} ({aucs[1] - aucs[0]:+.5f}) |" in int8_row
    assert "ms" in int8_row
    card = json.loads((version / "assets.extra" / "model.json").read_text())
    assert card["quantization"] == "int8"
    assert card["metrics"]["test"]["auc"] == pytest.approx(aucs[1], abs=1e-6)


def test_int8_models_score_raw_rows_with_both(int8_exported, raw_file, tmp_path):
    version, _ = int8_exported
    predict(PredictCommand(version, raw_file, tmp_path / "p.csv"))
    predicted = np.array((tmp_path / "p.csv").read_text().split()[1:201], np.float32)
    lines = raw_file.read_text().splitlines()[:200]
    served = Served(version)
    names = FeatureSchema.load(version / "assets.extra").raw_columns
    columns = {
        name: [line.split("\t")[number] for line in lines]
        for number, name in enumerate(names, 1)
    }
    probabilities = served.probabilities("raw", **columns)
    np.testing.assert_allclose(probabilities, predicted, rtol=1e-5)
