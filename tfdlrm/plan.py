"""`python -m tfdlrm.plan`: what a training run takes, before it is begun."""

import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tfdlrm.base import storage
from tfdlrm.base.byte_size import format_byte_size, parse_byte_size
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.device_names import unseen_gpus
from tfdlrm.base.errors import require
from tfdlrm.base.plain_text import markdown
from tfdlrm.config import TrainConfig
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.planning.advice import Memory, memory_here, require_memory
from tfdlrm.planning.machine_memory import UNKNOWN
from tfdlrm.planning.memory_plan import MemoryPlan, table_state

KAGGLE_ROWS = 39_291_954
"""Of Criteo Kaggle, the six days that are trained on."""

SHARE_OF_CEILING = ((128, 0.33), (2048, 0.55), (8192, 0.6))
"""Of what large matrix products reach, what a training step on a processor does, by the
rows in it; see docs/performance.md."""


@dataclass(frozen=True)
class PlanCommand(TrainConfig):
    """Say what a training run takes in memory, on disk and in time; begin nothing.

    It has all settings of `tfdlrm.train`. Without data_dir, the columns, vocabulary
    sizes and rows are those published of Criteo Kaggle. What cannot fit is refused with
    status 2, and with settings that would.

    Args:
        vocabulary_sizes: Number of ids of each categorical feature, in place of those
            of a data set.
        rows: Training rows, likewise.
        memory: Memory for the run, such as `16GB`; null means what this machine has
            left.
        num_devices: GPUs of each machine that it trains on; null means those of this
            one. How many machines strategy multi_worker has, TF_CONFIG tells.
        device_memory: Memory of each GPU, such as `80GB`; null means that of this
            machine's.
        samples_per_second: Rows trained on in a second, where it is known; null
            estimates it from a matrix product that is timed now.
    """

    vocabulary_sizes: tuple[int, ...] | None = None
    rows: int | None = None
    memory: str | None = None
    num_devices: int | None = None
    device_memory: str | None = None
    samples_per_second: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rows", "num_devices"):
            value = getattr(self, name)
            require(value is None or value >= 0, name, value, ">= 0")
        speed = self.samples_per_second
        require(speed is None or speed > 0, "samples_per_second", speed, "> 0")
        for size in self.vocabulary_sizes or ():
            require(size >= 1, "vocabulary_sizes", self.vocabulary_sizes, ">= 1 each")
        self._check_devices()

    def _check_devices(self) -> None:
        """Refuse GPUs that the run would not use."""
        number = self.num_devices
        is_used = self.strategy != "default" or (number or 0) <= 1
        expected = "1 at most with strategy default: add --strategy mirrored"
        require(is_used, "num_devices", number, expected)
        is_used = self.device_memory is None or number != 0
        require(is_used, "device_memory", self.device_memory, "none with num_devices 0")


def plan(command: PlanCommand) -> str:
    """Return what a run takes, as Markdown.

    Args:
        command: The run's settings, and what is there for it.
    """
    schema = data_schema(command)
    num_rows = training_rows(command, schema)
    memory = memory_for(command)
    memory_plan = memory.plan(schema, command)
    parts = [
        f"# Plan: {command.model.name}, {command.optimizer.name}, "
        f"batch size {command.batch_size:,}, {command.precision}",
        f"Columns and rows: {_source(command)}.",
        tables_of(memory_plan, command.optimizer.name),
        memory_of(memory_plan, memory),
        disk_of(memory_plan, command),
        time_of(memory_plan, command, num_rows),
    ]
    return "\n\n".join(parts)


def _source(command: PlanCommand) -> str:
    if command.vocabulary_sizes is not None:
        return "as stated"
    source = str(command.data_dir or "those published of Criteo Kaggle")
    return source if command.rows is None else f"{source}, but rows as stated"


def data_schema(command: PlanCommand) -> FeatureSchema:
    """Return the columns that size the model."""
    if command.vocabulary_sizes is None and command.data_dir is not None:
        return FeatureSchema.load(command.data_dir)
    from pipelines.twin.features import KAGGLE_VOCABULARY_SIZES, NUM_DENSE

    sizes = command.vocabulary_sizes or KAGGLE_VOCABULARY_SIZES
    return FeatureSchema(
        dense_features=tuple(f"I{i + 1}" for i in range(NUM_DENSE)),
        categorical_features=tuple(
            CategoricalFeature(f"C{i + 1}", size) for i, size in enumerate(sizes)
        ),
    )


def training_rows(command: PlanCommand, schema: FeatureSchema) -> int:
    """Return the rows of an epoch."""
    if command.rows is not None:
        return command.rows
    return schema.num_rows("train") or KAGGLE_ROWS


def memory_for(command: PlanCommand) -> Memory:
    """Return the memory for the run: as the command says, or of this machine."""
    available = memory_here(command.strategy, command.num_devices)
    if command.memory is not None:
        available = replace(available, host=parse_byte_size(command.memory, "memory"))
    if command.device_memory is not None:
        device = parse_byte_size(command.device_memory, "device_memory")
        available = replace(
            available, device=device, num_devices=available.num_devices or 1
        )
    return available


def tables_of(plan: MemoryPlan, optimizer: str) -> str:
    """Return the parameters, and each table's bytes, as Markdown."""
    size = plan.size
    lines = [
        f"{size.parameters:,} parameters, {size.layers.parameters:,} not in tables",
        "",
        "| table | rows | width | weights | optimizer state |",
        "| ----- | ---: | ----: | ------: | --------------: |",
    ]
    for table in size.tables:
        weights = format_byte_size(4 * table.parameters)
        state = format_byte_size(table_state(table, optimizer))
        name = markdown(table.name)
        lines.append(f"| {name} | {table.rows:,} | {table.dim} | {weights} | {state} |")
    return "\n".join(lines)


def memory_of(plan: MemoryPlan, memory: Memory) -> str:
    """Return what takes memory, where, and how much there is, as Markdown."""
    tables = device = "each GPU" if plan.num_devices else "host"
    if plan.num_devices and plan.placement != "replicated":
        tables = "host" if plan.placement == "host" else "all GPUs together"
    whole_tables = "the tables once more, to measure and export"
    lines = ["| memory | where | bytes |", "| ------ | ----- | ----: |"]
    for where, purpose, num_bytes in (
        (tables, "tables", plan.tables),
        (tables, "optimizer state of the tables", plan.table_state),
        (tables, "which rows have changed, for checkpoints", plan.changed_rows),
        (device, "other weights, gradients and state", plan.layers),
        (device, "activations and their gradients", plan.activations),
        ("host", "rows read ahead and shuffled", plan.input),
        ("host", "copies of what is written to checkpoints", plan.checkpoint),
        *([("host", whole_tables, plan.whole_tables)] if plan.whole_tables else []),
        ("host", "TensorFlow and the process", plan.runtime),
    ):
        lines.append(f"| {purpose} | {where} | {format_byte_size(num_bytes)} |")
    if plan.num_devices:
        is_known = memory.device != UNKNOWN
        available = format_byte_size(memory.device) if is_known else "unknown"
        lines.append(
            f"| together, of {available} | each of {plan.num_devices} GPUs | "
            f"{format_byte_size(plan.device)} |"
        )
    total = format_byte_size(plan.host)
    lines.append(f"| together, of {format_byte_size(memory.host)} | host | {total} |")
    return "\n".join(lines)


def disk_of(plan: MemoryPlan, command: PlanCommand) -> str:
    """Describe what checkpoints and the exported model take on disk."""
    file, num_kept = plan.checkpoint_file, command.checkpoints.keep
    checkpoint_size, total_size, model_size = (
        format_byte_size(num_bytes)
        for num_bytes in (file, (num_kept + 1) * file, 4 * plan.size.parameters)
    )
    takes = (
        f"A checkpoint is {checkpoint_size} on disk; {num_kept} are kept while one "
        "more is written: "
        f"{total_size}. The exported model is {model_size}."
    )
    run_dir = command.run_dir or Path("runs")
    if storage.is_remote(run_dir):
        return takes
    while not run_dir.exists():
        run_dir = run_dir.parent
    free = format_byte_size(shutil.disk_usage(run_dir).free)
    return f"{takes} Free there: {free}."


def time_of(plan: MemoryPlan, command: PlanCommand, num_rows: int) -> str:
    """Describe the samples a second, and how long the whole training takes."""
    rate, source = command.samples_per_second, "as stated"
    if rate is None:
        if plan.num_devices:
            return (
                f"{num_rows:,} rows an epoch. Time: not estimated for GPUs; give "
                "--samples_per_second."
            )
        gflops = matrix_gflops()
        share = share_of_ceiling(command.batch_size)
        rate = share * gflops * 1e9 / max(1, plan.size.operations)
        source = (
            f"an estimate: {share:.0%} of the {gflops:,.0f} GFLOP/s that a matrix "
            "product reached just now, without look-ups and input; expect it within a "
            "factor of two"
        )
    seconds = num_rows * command.epochs / rate
    return (
        f"{num_rows:,} rows an epoch, {command.epochs} epoch(s): "
        f"{duration(seconds)} at {rate:,.0f} samples/s ({source})."
    )


def share_of_ceiling(batch_size: int) -> float:
    """Return the share of the matrix products' speed that a step reaches."""
    sizes, shares = zip(*SHARE_OF_CEILING, strict=True)
    return float(np.interp(np.log(batch_size), np.log(sizes), shares))


def matrix_gflops(size: int = 2048, seconds: float = 1.0) -> float:
    """Measure a float32 matrix product, in 10^9 operations a second."""
    rng = np.random.default_rng(0)
    left, right = (rng.random((size, size), np.float32) for _ in range(2))
    left @ right  # the first one starts threads
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        left @ right
        calls += 1
    return 2 * size**3 * calls / (time.perf_counter() - start) / 1e9


def duration(seconds: float) -> str:
    """Write seconds as people read them.

    Example:

    >>> duration(42), duration(5000), duration(200_000)
    ('42 s', '83 min', '55.6 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 120 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def main() -> None:
    command = parse(PlanCommand, "tfdlrm.plan")
    print(plan(command))
    warning = unseen_gpus() if command.num_devices is None else None
    if warning:  # the plan is one of the processor
        print(f"warning: {warning}", file=sys.stderr)
    schema, memory = data_schema(command), memory_for(command)
    # Sizes that are stated are of another data set.
    data_dir = None if command.vocabulary_sizes else command.data_dir
    require_memory(schema, command, memory, data_dir)
    print("\nIt fits.")


if __name__ == "__main__":
    run_command(main)
