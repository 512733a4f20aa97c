"""`python -m benchmarks.plan`: compare planned memory with that of a training run."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.laboratory.measurement import Optimizer
from benchmarks.laboratory.processes import ROOT
from benchmarks.laboratory.table import Cell, markdown
from benchmarks.workload.criteo_kaggle import make_batches, vocabulary_sizes
from benchmarks.workload.data_set import write_data_set
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.config import OptimizerConfig, TrainConfig
from tfdlrm.planning.memory_plan import memory_plan


@dataclass(frozen=True)
class PlanBenchmark:
    """Compare the memory that `tfdlrm.plan` predicts with the peak of a training run.

    Each size is trained by `python -m tfdlrm.train`, in a process of its own, from
    files, with validation, checkpoints and an exported model.

    Args:
        table_scales: Factors of Criteo Kaggle's published vocabulary sizes.
        optimizer: Optimizer.
        batch_size: Rows in a step.
        steps: Training steps.
        work_dir: Directory for the data set and the run, which are removed; null means
            a temporary one.
    """

    table_scales: tuple[float, ...] = (0.1, 0.4, 1.0)
    optimizer: Optimizer = "adagrad"
    batch_size: int = 2048
    steps: int = 200
    work_dir: Path | None = None


def main(argv: Sequence[str] | None = None) -> None:
    """Train each size, and print a table."""
    config = parse(PlanBenchmark, "benchmarks.plan", argv, renamed={"data": "work_dir"})
    rows = [compare(config, scale) for scale in config.table_scales]
    print(f"## Planned and measured memory, {config.optimizer}\n")
    header = (
        "table rows",
        "planned GB",
        "measured peak GB",
        "planned / measured",
        "checkpoint planned GB",
        "checkpoint on disk GB",
    )
    print(markdown(header, rows))


def compare(config: PlanBenchmark, scale: float) -> tuple[Cell, ...]:
    """Plan and train one size."""
    sizes = vocabulary_sizes(scale)
    batches = make_batches(sizes, config.batch_size, seed=0)
    with tempfile.TemporaryDirectory(dir=config.work_dir) as folder:
        directory = Path(folder)
        splits = {"train": config.steps, "validation": 40, "test": 40}
        schema = write_data_set(directory / "data", sizes, batches, splits)
        planned = memory_plan(
            schema,
            TrainConfig(
                optimizer=OptimizerConfig(config.optimizer),
                batch_size=config.batch_size,
            ),
        )
        measured, on_disk = _train(config, directory)
    return (
        sum(sizes),
        planned.host / 1e9,
        measured / 1e9,
        planned.host / measured,
        planned.checkpoint_file / 1e9,
        on_disk / 1e9,
    )


def _train(config: PlanBenchmark, directory: Path) -> tuple[int, int]:
    """Return the peak memory of a training run and the bytes of its last checkpoint."""
    run = directory / "run"
    options = {
        "data_dir": directory / "data",
        "run_dir": run,
        "export_dir": directory / "model",
        "batch_size": config.batch_size,
        "optimizer.name": config.optimizer,
        "checkpoints.steps": config.steps // 4,
        "checkpoints.keep": 1,
    }
    subprocess.run(
        [sys.executable, "-m", "tfdlrm.train"]
        + [f"--{name}={value}" for name, value in options.items()],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    summary = json.loads((run / "summary.json").read_text())
    sizes = [
        sum(file.stat().st_size for file in path.iterdir())
        for path in (run / "checkpoints").iterdir()
    ]
    shutil.rmtree(run)
    return summary["peak_memory"], max(sizes)


if __name__ == "__main__":
    run_command(main)
