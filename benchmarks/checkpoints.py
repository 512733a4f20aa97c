"""`python -m benchmarks.checkpoints`: what checkpoints cost a run."""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.laboratory import machine
from benchmarks.laboratory.table import Cell, markdown
from tfdlrm.base.command_line import parse, run_command

COLUMNS = (
    "checkpoint",
    "training stops s",
    "on disk after s",
    "MB written",
    "ms/step meanwhile",
    "peak memory grows by GB",
)
STEPS_BETWEEN = 100


@dataclass(frozen=True)
class CheckpointBenchmark:
    """Train the Kaggle-sized DLRM and write checkpoints of it in several ways.

    Args:
        optimizer: Optimizer; `adagrad` has as much state as weights.
        batch_size: Rows in a step.
        table_scale: Factor of the published vocabulary sizes.
        work_dir: Where the checkpoints go, and are removed; null means a folder for
            temporary files.
    """

    optimizer: str = "adagrad"
    batch_size: int = 2048
    table_scale: float = 1.0
    work_dir: Path | None = None


class Training:
    """Runs training steps one at a time, and keeps their times.

    Args:
        config: What to train.
    """

    def __init__(self, config: CheckpointBenchmark) -> None:
        import tensorflow as tf

        from benchmarks.laboratory.fit import as_dataset
        from benchmarks.peers.dlrm_tfdlrm import build
        from benchmarks.workload.criteo_kaggle import make_batches, vocabulary_sizes
        from tfdlrm.checkpoints.variables import SavedVariables
        from tfdlrm.config import OptimizerConfig
        from tfdlrm.training.compiling import compile_model

        sizes = vocabulary_sizes(config.table_scale)
        rows = make_batches(sizes, config.batch_size, seed=0)
        features = {"dense_features": rows.dense, "categorical_features": rows.ids}
        self.model = build(sizes)
        compile_model(self.model, OptimizerConfig(config.optimizer, 0.01))  # type: ignore[arg-type]
        self.variables = SavedVariables(self.model)
        self.variables.watch_tables()
        self._batches = iter(as_dataset(features, rows.labels[..., None]))
        self._step: Any = tf.function(self.model.train_step, reduce_retracing=True)
        self.steps = 0
        self.run(20)

    def run(self, steps: int) -> float:
        """Train so many steps, and return the median milliseconds of one."""
        return self.run_while(lambda: True, steps)

    def run_while(self, condition: Callable[[], bool], most: int = 10**6) -> float:
        """Train while a condition holds; return the median milliseconds of a step."""
        times: list[float] = []
        while condition() and len(times) < most:
            start = time.perf_counter()
            self._step(next(self._batches))
            times.append(time.perf_counter() - start)
        self.steps += len(times)
        return 1000 * median(times) if times else float("nan")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    config = parse(
        CheckpointBenchmark,
        "benchmarks.checkpoints",
        argv,
        renamed={"data": "work_dir"},
    )
    print(f"## Checkpoints while training\n\n{machine.describe()}\n", flush=True)
    training = Training(config)
    print(f"{training.run(STEPS_BETWEEN):.1f} ms/step without any.\n")
    folder = Path(tempfile.mkdtemp(dir=config.work_dir))
    try:
        rows = []
        for row in measure(training, folder):
            print(f"{row[0]}: {row[2]:.1f} s", file=sys.stderr, flush=True)
            rows.append(row)
        print(markdown(COLUMNS, rows))
    finally:
        shutil.rmtree(folder)


def measure(training: Training, folder: Path) -> Iterator[tuple[Cell, ...]]:
    """Return a row of the table for each way to write a checkpoint."""
    import tensorflow as tf

    from tfdlrm.checkpoints.directory import CheckpointDirectory
    from tfdlrm.checkpoints.writer import CheckpointWriter

    directory = CheckpointDirectory(folder / "ours", keep=10)
    writer = CheckpointWriter(directory, training.variables, {"step": 0})
    for words in ("tables, in the background", "rows since then", "rows of 100 steps"):
        if not words.startswith("tables"):
            writer.poll()
        yield _background(words, training, writer, folder)
        if words == "rows since then":
            training.run(STEPS_BETWEEN)
    pieces = training.variables.all_pieces
    state = {"tables": None}
    yield _write_while_stopped(
        "everything, training stops",
        lambda: directory.write_step(training.steps, state, pieces()),
        folder,
    )
    model = training.model
    peer = tf.train.Checkpoint(
        model={str(i): variable.value for i, variable in enumerate(model.variables)},
        optimizer={
            str(i): variable.value
            for i, variable in enumerate(model.optimizer.variables)
        },
    )
    yield _write_while_stopped(
        "tf.train.Checkpoint", lambda: peer.write(str(folder / "peer")), folder
    )


def _background(
    words: str, training: Training, writer: Any, folder: Path
) -> tuple[Cell, ...]:
    memory, size = machine.peak_memory_gb(), _size(folder)
    start = time.perf_counter()
    writer.begin(training.steps, {})
    stopped = time.perf_counter() - start
    ms = training.run_while(lambda: writer.is_busy)
    took = time.perf_counter() - start
    writer.wait()
    grown = machine.peak_memory_gb() - memory
    return words, stopped, took, (_size(folder) - size) / 1e6, ms, grown


def _write_while_stopped(
    words: str, write: Callable[[], object], folder: Path
) -> tuple[Cell, ...]:
    memory, size = machine.peak_memory_gb(), _size(folder)
    start = time.perf_counter()
    write()
    took = time.perf_counter() - start
    grown = machine.peak_memory_gb() - memory
    return words, took, took, (_size(folder) - size) / 1e6, None, grown


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    run_command(main)
