import json
import re
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.embedding_update import EmbeddingUpdateConfig, measure
from benchmarks.laboratory.measurement import Job, Measurement, StepTime
from benchmarks.laboratory.processes import Laboratory, answer_of
from benchmarks.laboratory.report import ceiling_rates, scales_table, steps_table
from benchmarks.laboratory.table import markdown, text
from benchmarks.laboratory.timing import Stopwatch, stopwatch_for, time_calls
from benchmarks.peers import products, updates
from benchmarks.peers.dlrm_tfdlrm import build
from benchmarks.train_step import TrainStepConfig, plan
from benchmarks.workload.criteo_kaggle import (
    flops_per_sample,
    make_batches,
    power_law_ids,
    vocabulary_sizes,
)
from pipelines.synthetic import KAGGLE_VOCABULARY_SIZES
from tests.support.processes import run_command_line
from tfdlrm.base.errors import InputError


def cells(table: str) -> list[list[str]]:
    """Return the rows of a Markdown table, head included, without the rule."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    return [row for row in rows if not set("".join(row)) <= set("-:")]


def measurement_of(
    system: str, ms: float, batch_size: int = 100, **settings
) -> Measurement:
    job = Job(system=system, batch_size=batch_size, **settings)
    return Measurement(job, StepTime(ms, 20, loss=0.5, rss_gb=1.0), peak_gb=1.5)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (1234567, "1,234,567"),
        (1234.5, "1,234"),
        (24.56, "24.6"),
        (0.04321, "0.0432"),
        (float("nan"), "-"),
        (None, "-"),
        ("keras", "keras"),
    ],
)
def test_cells_are_shown_with_three_digits(cell, expected):
    assert text(cell) == expected


def test_a_table_is_aligned_markdown():
    assert markdown(("who", "n"), [("a", 1), ("bcde", None)]).splitlines() == [
        "| who  |   n |",
        "| ---- | --: |",
        "| a    |   1 |",
        "| bcde |   - |",
    ]


def test_speeds_are_relative_to_the_first_row_with_the_same_optimizer():
    measurements = [
        measurement_of("tfdlrm", 4.0, optimizer="sgd"),
        measurement_of("tfdlrm", 2.0, optimizer="sgd", steps_per_execution=16),
        measurement_of("tfdlrm-bf16", 1.0, optimizer="sgd"),
        measurement_of("keras", 8.0, optimizer="sgd"),
        measurement_of("keras", 5.0, optimizer="adagrad"),
        Measurement(Job(system="torch"), note="torch is not installed"),
    ]
    ceilings = {"float32": 50_000.0, "bfloat16": 200_000.0}
    assert [row[2:] for row in cells(steps_table(measurements, ceilings))[1:]] == [
        ["1", "4.00", "25,000", "1.00", "50%", "1.50", ""],
        ["16", "2.00", "50,000", "2.00", "100%", "1.50", ""],
        ["1", "1.00", "100,000", "4.00", "50%", "1.50", ""],
        ["1", "8.00", "12,500", "0.500", "25%", "1.50", ""],
        ["1", "5.00", "20,000", "-", "40%", "1.50", ""],
        ["1", "-", "-", "-", "-", "-", "torch is not installed"],
    ]


def test_table_sizes_are_compared_system_by_system():
    large = [measurement_of("tfdlrm", 3.0), measurement_of("keras", 60.0)]
    small = [measurement_of(s, 3.0, table_scale=0.01) for s in ("tfdlrm", "keras")]
    assert cells(scales_table(large, small)) == [
        ["system", "ms/step, tables x 1", "ms/step, tables x 0.01", "quotient"],
        ["tfdlrm", "3.00", "3.00", "1.00"],
        ["keras", "60.0", "3.00", "20.0"],
    ]


def test_a_ceiling_is_its_operations_over_those_of_a_sample():
    measurements = [
        Measurement(Job(system="ceiling"), gflops=400.0),
        Measurement(Job(system="ceiling-bf16"), note="no bfloat16 instructions"),
    ]
    assert ceiling_rates(measurements) == {"float32": 400e9 / flops_per_sample()}


def test_operations_of_a_sample_match_the_weights_of_the_model():
    model = build(vocabulary_sizes(0.0001))
    kernels = [w for w in model.trainable_variables if w.name == "kernel"]
    assert len(kernels) == 7
    interaction = 27 * 27 * 16
    products = sum(np.size(kernel) for kernel in kernels) + interaction
    assert flops_per_sample() == 3 * 2 * products == 2_916_192


def test_the_products_alone_are_those_of_a_training_step():
    inputs = tf.random.stateless_normal((5, 3), seed=(0, 0))
    weights = [tf.random.stateless_normal(shape, (0, 1)) for shape in ((3, 4), (4, 2))]
    with tf.GradientTape() as tape:
        tape.watch([inputs, *weights])
        loss = tf.nn.l2_loss(inputs @ weights[0] @ weights[1])
    expected = tape.gradient(loss, [weights[1], weights[0], inputs])
    gradients = products._tower(inputs, weights, needs_input_gradient=True)
    for gradient, reference in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, reference, rtol=1e-5, atol=1e-5)


def test_the_products_alone_take_time():
    job = Job(system="products", batch_size=8, steps_per_execution=2, seconds=0.01)
    step = products.time_step(job, [10] * 26, make_batches([10] * 26, 8, 0))
    assert step.ms > 0
    assert step.steps >= job.min_steps


def test_vocabularies_scale_and_never_vanish():
    assert vocabulary_sizes(1.0) == list(KAGGLE_VOCABULARY_SIZES)
    assert min(vocabulary_sizes(0.0001)) == 1
    assert max(vocabulary_sizes(0.0001)) == 1013


@pytest.mark.parametrize("size", [1, 2, 10, 10_131_227])
def test_ids_are_in_range_and_reach_far(size):
    ids = power_law_ids(np.random.default_rng(0), size, (50_000,))
    assert ids.dtype == np.int32
    assert ids.min() == 0
    assert size // 2 <= ids.max() < size


def test_a_measurement_survives_json():
    measurement = measurement_of("keras", 8.0)
    assert (
        Measurement.from_json(json.loads(json.dumps(asdict(measurement))))
        == measurement
    )


def test_what_goes_wrong_in_a_process_becomes_a_note():
    laboratory = Laboratory([])
    laboratory.measure([Job(system="nonsense")])
    assert laboratory.num_failed == 1
    (measurement,) = laboratory.done.values()
    assert measurement.note.startswith("failed: error: ")
    command = re.escape("(in python -m benchmarks.runs.read_run --way=nonsense)")
    with pytest.raises(InputError, match=command):
        answer_of("runs.read_run", way="nonsense")


def test_the_lower_ids_are_the_more_frequent_ones():
    counts = np.bincount(power_law_ids(np.random.default_rng(0), 5, (50_000,)))
    assert all(more > fewer for more, fewer in pairwise(counts))


def test_batches_follow_their_seed():
    batches, same_batches, other_batches = (
        make_batches([7, 1], 4, seed, 3) for seed in (0, 0, 1)
    )
    for name, shape in [("dense", (3, 4, 13)), ("ids", (3, 4, 2)), ("labels", (3, 4))]:
        assert getattr(batches, name).shape == shape
        np.testing.assert_array_equal(
            getattr(batches, name), getattr(same_batches, name)
        )
    assert (batches.dense != other_batches.dense).any()
    assert set(np.unique(batches.labels)) <= {0.0, 1.0}


def test_a_stopwatch_reports_the_median_stretch():
    stopwatch = Stopwatch(seconds=1, min_steps=1, stretch_steps=2)
    stopwatch.times = [0.004, 0.006, 0.5]
    assert stopwatch.ms == 3.0
    assert stopwatch.steps == 6


@pytest.mark.parametrize(
    ("guess", "at_once", "steps"), [(0.01, 1, 50), (0.01, 16, 64), (9.0, 1, 2)]
)
def test_a_stretch_is_a_whole_number_of_executions(guess, at_once, steps):
    stopwatch = stopwatch_for(guess, seconds=5, min_steps=20, at_once=at_once)
    assert stopwatch.stretch_steps == steps


def test_calls_are_numbered_and_enough():
    calls = []
    stopwatch = time_calls(calls.append, seconds=1e-6, min_calls=25)
    assert stopwatch.steps >= 25
    assert calls[3:] == list(range(stopwatch.steps))  # the first three warm up


def test_a_plan_holds_every_combination_once_and_torch_without_executions():
    config = TrainStepConfig(systems=("tfdlrm", "torch"), batch_sizes=(8, 2048))
    planned = plan(config)
    assert list(planned.steps) == [8, 2048]
    assert len(planned.steps[8]) == len(set(planned.steps[8])) == 2 * (2 + 1)
    assert planned.ceilings == []
    assert [job.system for job in planned.large_tables] == ["tfdlrm"]
    assert planned.large_tables[0] in planned.steps[2048]
    assert planned.small_tables[0].table_scale == 0.01


@pytest.mark.parametrize(
    "wrong", [{"batch_sizes": ()}, {"smaller_tables": 2.0}, {"batch_sizes": (0,)}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        plan(TrainStepConfig(**wrong))


def test_distinct_ids_come_with_the_sums_of_their_gradients():
    ids, values = tf.constant([4, 2, 4]), tf.constant([[1.0], [2.0], [3.0]])
    distinct, sums = updates._sum_repeated(ids, values)
    assert distinct.numpy().tolist() == [4, 2]
    assert sums.numpy().tolist() == [[4.0], [2.0]]


def test_the_update_of_every_optimizer_is_measured():
    config = EmbeddingUpdateConfig(
        table_rows=(50,), batch_size=2, seconds=1e-3, min_steps=1
    )
    rows = {row[0]: row[1:] for row in measure(config)}
    assert {"SGD", "Adagrad"} <= set(rows) == set(updates.names())
    for num_rows, tfdlrm, bare, distinct, keras, *_ in (rows["SGD"], rows["Adagrad"]):
        assert num_rows == 50
        assert min(tfdlrm, bare, distinct, keras) > 0


@pytest.mark.slow
def test_the_command_prints_the_rows_that_were_asked_for(tmp_path):
    process = run_command_line(
        "python -m benchmarks.train_step --systems '[tfdlrm,torch]' "
        "--optimizers '[adagrad]' --batch_sizes '[32]' --steps_per_execution '[2]' "
        "--table_scale 0.0001 --smaller_tables null --seconds 0.1 --min_steps 2 "
        "--output_file measurements.json",
        cwd=tmp_path,
    )
    assert process.returncode == 0, process.stderr
    tfdlrm, torch = cells(process.stdout)[1:]
    assert tfdlrm[:3] == ["tfdlrm", "adagrad", "2"]
    assert torch[:3] == ["torch", "adagrad", "1"]
    assert all(re.fullmatch(r"[\d.,]+", cell) for cell in tfdlrm[3:6])
    assert re.fullmatch(r"[\d.,]+", torch[3]) or torch[-1] == "torch is not installed"
    contents = json.loads((tmp_path / "measurements.json").read_text())
    assert len(contents["measurements"]) == 2
