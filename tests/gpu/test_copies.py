"""Copies of a training step to, from and between GPUs, which are made of memory."""

import json
import shlex

import pytest

from pipelines.prepare import prepare
from pipelines.random_data import RandomData, write_random
from tests.support.fake_gpu.machine import Machine
from tfdlrm.config import PrepareConfig

pytestmark = pytest.mark.slow

BATCH_SIZE = 256
BATCH_BYTES = BATCH_SIZE * (13 + 26 + 1) * 4
"""Bytes of the dense features, ids and labels of a batch of `data_dir`."""


def copies_per_step(fake_gpus, directory, settings):
    """Return the copies of a step with two GPUs, for each of the settings."""
    machine = Machine(fake_gpus, directory, num_gpus=2)
    argument = shlex.quote(json.dumps(settings))
    output = machine.run(f"python -m tests.support.fake_gpu.step {argument}")
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def test_what_goes_between_gpus_does_not_grow_with_the_tables(
    fake_gpus, data_dir, tmp_path
):
    settings = {
        "data_dir": str(data_dir),
        "batch_size": BATCH_SIZE,
        "name": "mirrored",
    }
    small, large = copies_per_step(
        fake_gpus, tmp_path, [{**settings, "table_scale": scale} for scale in (1, 16)]
    )
    assert small == large
    assert small["bytes_within_devices"] > 0  # gradients


def test_ids_go_to_a_gpu_and_no_vectors_come_back(fake_gpus, data_dir, tmp_path):
    settings = {"data_dir": str(data_dir), "batch_size": BATCH_SIZE}
    precisions = ("float32", "mixed_bfloat16", "mixed_float16")
    for copies in copies_per_step(
        fake_gpus,
        tmp_path,
        [{**settings, "precision": precision} for precision in precisions],
    ):
        assert BATCH_BYTES <= copies["bytes_to_device"] < 3 * BATCH_BYTES
        assert copies["bytes_to_host"] < BATCH_BYTES
        assert copies["to_device"] + copies["to_host"] < 30


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    """A data set of bags of ids."""
    directory = tmp_path_factory.mktemp("bags")
    raw = directory / "bags.parquet"
    write_random(raw, RandomData(rows=2_000, vocabulary_sizes=(50,) * 4, lookups=3))
    columns = raw.with_name("bags.parquet.columns.yaml")
    prepare([raw], directory / "data", PrepareConfig(columns=columns, min_frequency=1))
    return directory / "data"


def test_bags_are_copied_by_the_batch_and_not_by_the_row(fake_gpus, bags, tmp_path):
    settings = {"data_dir": str(bags), "name": "mirrored"}
    few, many = copies_per_step(
        fake_gpus,
        tmp_path,
        [{**settings, "batch_size": batch_size} for batch_size in (32, 128)],
    )
    assert few["to_device"] == many["to_device"]
    assert few["to_host"] == many["to_host"]
