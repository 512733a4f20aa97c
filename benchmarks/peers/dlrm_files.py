"""This project's DLRM in its own training loop, which reads the rows from files."""

import contextlib
import math
import os
import shutil
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.laboratory.machine import memory_gb
from benchmarks.laboratory.measurement import Job, StepTime
from benchmarks.peers.dlrm_tfdlrm import build
from benchmarks.workload.criteo_kaggle import LEARNING_RATE, Batches
from benchmarks.workload.data_set import write_data_set
from tfdlrm.config import CheckpointConfig, OptimizerConfig, TrainConfig
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.training.compiling import compile_model
from tfdlrm.training.fit import fit, make_reproducible
from tfdlrm.training.run_directory import RunDirectory

EPOCH_STEPS = 256

STRETCHES = 8
"""Parts of an epoch, each of which is timed and ends with a point of the curves."""

GUESS = 80_000
"""Rows a second, from which the number of epochs follows."""


def time_step(job: Job, vocabulary_sizes: list[int], batches: Batches) -> StepTime:
    """Train as `python -m tfdlrm.train` does, from shards of these batches.

    It measures metrics, curves and the loss, but does no validation and writes no
    checkpoints, whose number is a setting. The time of a step is the median over
    stretches. Those that begin an epoch are left out; what they take beyond that is
    the time to start one. The first epoch compiles and does not count.
    """
    directory = Path(tempfile.mkdtemp(prefix="tfdlrm-benchmark-"))
    try:
        schema = write_data_set(
            directory / "data", vocabulary_sizes, batches, {"train": EPOCH_STEPS}
        )
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            return _time_loop(job, schema, directory)
    finally:
        shutil.rmtree(directory)


def _time_loop(job: Job, schema: FeatureSchema, directory: Path) -> StepTime:
    num_rows = schema.num_rows("train")
    steps = -(-num_rows // job.batch_size)
    config = TrainConfig(
        optimizer=OptimizerConfig(job.optimizer, LEARNING_RATE),
        batch_size=job.batch_size,
        epochs=1 + max(2, math.ceil(job.seconds * GUESS / num_rows)),
        evaluations_per_epoch=STRETCHES,
        steps_per_execution=job.steps_per_execution,
        checkpoints=CheckpointConfig(minutes=None),
        run_dir=directory / "run",
    )
    make_reproducible(job.seed)
    model = build(schema.vocabulary_sizes)
    compile_model(model, config.optimizer, config.steps_per_execution)
    data = directory / "data"

    def read(epoch: int, batch: int) -> Any:
        order = (job.seed, epoch)
        return read_split(data, schema, "train", job.batch_size, order, batch)

    with RunDirectory.opened(config) as run:
        points = fit(model, read, steps, None, config, run, schema.fingerprint)
    first_times: list[float] = []
    later_times: list[float] = []
    for previous, point in pairwise(point for point in points if point.step >= steps):
        times = later_times if previous.step % steps else first_times
        times.append((point.seconds - previous.seconds) / (point.step - previous.step))
    seconds = median(later_times)
    return StepTime(
        ms=seconds * 1000,
        steps=steps * (config.epochs - 1),
        loss=points[-1].loss,
        rss_gb=memory_gb(),
        start_seconds=(median(first_times) - seconds) * (steps // STRETCHES),
    )
