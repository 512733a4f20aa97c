"""Training, checkpoints and exports hold tables once."""

import json

import pytest

from benchmarks.workload.criteo_kaggle import make_batches, vocabulary_sizes
from benchmarks.workload.data_set import write_data_set
from tests.support.processes import run_command_line


@pytest.mark.slow
def test_a_run_holds_its_tables_once(tmp_path):
    sizes = vocabulary_sizes(0.5)  # another copy of the tables would be 1.1 GB more
    batches = make_batches(sizes, 512, seed=0, num_batches=8)
    splits = {"train": 24, "validation": 8, "test": 8}
    write_data_set(tmp_path / "data", sizes, batches, splits)
    process = run_command_line(
        f"python -m tfdlrm.train --data_dir {tmp_path}/data --batch_size 512 "
        f"--run_dir {tmp_path}/run --export_dir {tmp_path}/model "
        "--optimizer.name adagrad --checkpoints.steps 8 --checkpoints.keep 1"
    )
    assert process.returncode == 0, process.stderr
    assert list((tmp_path / "run" / "checkpoints").iterdir())
    assert (tmp_path / "model" / "1" / "saved_model.pb").is_file()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    weights_and_state = 2 * 4 * summary["parameters"]
    assert weights_and_state > 2e9
    # The rest took 1.35 to 1.41 GB; with another copy it would take 2.4.
    assert summary["peak_memory"] < weights_and_state + 1.8e9
