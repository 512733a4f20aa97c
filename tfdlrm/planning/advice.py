"""Check that a run fits into memory, and suggest settings that would."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import polars as pl

from tfdlrm.base.byte_size import format_byte_size
from tfdlrm.base.devices import count_gpus
from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig
from tfdlrm.config.cluster import Cluster
from tfdlrm.config.models import DLRMConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.vocabulary_files import read_frequencies
from tfdlrm.planning.machine_memory import (
    UNKNOWN,
    available_memory,
    available_on_gpu,
    gpu_memory,
)
from tfdlrm.planning.memory_plan import MemoryPlan, memory_plan

THRESHOLDS = (2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000)
COLLISIONS = (2, 4, 8, 16, 32, 64, 128)
LARGE_TABLE = 10_000
"""Rows from which a table counts as large."""

SMALLEST_DIM = 4


@dataclass(frozen=True)
class Memory:
    """Available memory, in bytes.

    Args:
        host: Free memory of the machine.
        device: Memory of each GPU that is free for TensorFlow.
        num_devices: GPUs of the machine.
        num_machines: Number of such machines.
    """

    host: int
    device: int = UNKNOWN
    num_devices: int = 0
    num_machines: int = 1

    def plan(self, schema: FeatureSchema, config: TrainConfig) -> MemoryPlan:
        """Return the memory plan of a run on these devices."""
        return memory_plan(schema, config, self.num_devices, self.num_machines)

    def holds(self, plan: MemoryPlan) -> bool:
        """Whether a plan fits."""
        return plan.host <= self.host and not self.lacks_device(plan)

    def lacks_device(self, plan: MemoryPlan) -> bool:
        """Whether a plan needs more memory than a GPU has."""
        return plan.num_devices > 0 and plan.device > self.device


def memory_here(strategy: str, num_devices: int | None = None) -> Memory:
    """Return the memory of this machine for a run.

    Args:
        strategy: The strategy of the run; `default` uses one GPU at most, and
            `multi_worker` the machines in `TF_CONFIG`.
        num_devices: GPUs of this machine; `None` for those that TensorFlow sees.

    Raises:
        InputError: If `TF_CONFIG` is needed and is not set or malformed.
    """
    host = available_memory()  # before TensorFlow takes some, which the plan contains
    number = count_gpus() if num_devices is None else num_devices
    gpus = [available_on_gpu(free) for free in gpu_memory()] if number else []
    if strategy == "default":
        number = min(number, 1)
    machines = 1
    if strategy == "multi_worker":
        machines = len(Cluster.from_environment().workers)
    return Memory(host, min(gpus, default=UNKNOWN), number, machines)


def require_memory(
    schema: FeatureSchema,
    config: TrainConfig,
    memory: Memory,
    data_dir: Path | None = None,
) -> None:
    """Refuse a run that cannot fit, before it allocates anything.

    Args:
        schema: The data set's columns.
        config: The run's settings.
        memory: The available memory.
        data_dir: The data set, which holds the frequencies of its values.

    Raises:
        InputError: If it cannot fit; the message has the bytes and other settings
            that would fit.
    """
    plan = memory.plan(schema, config)
    if memory.holds(plan):
        return
    needed, available, name = plan.host, memory.host, "memory"
    if memory.lacks_device(plan):
        needed, available = plan.device, memory.device
        name = "memory of each GPU"
    fitting = suggestions(schema, config, memory, data_dir)
    advice = "; ".join(fitting) or "no setting alone would, make the tables smaller"
    raise InputError(
        f"this run needs {format_byte_size(needed)} of {name}, and "
        f"{format_byte_size(available)} are there. What would fit: {advice}"
    )


def suggestions(
    schema: FeatureSchema,
    config: TrainConfig,
    memory: Memory,
    data_dir: Path | None = None,
) -> list[str]:
    """Return other settings that would fit, each with its bytes of the lacking memory.

    For each setting it is the smallest change that suffices. If none suffices alone,
    they are combined with an optimizer that keeps one number a row.
    """
    of_device = memory.lacks_device(memory.plan(schema, config))
    alone = [_row_wise(schema, config), *_changes(schema, config, data_dir)]
    combined = []
    for words, _, changed in _row_wise(schema, config):
        for changes in _changes(schema, changed, data_dir):
            combined.append(((f"{words} {w}", s, c) for w, s, c in changes))
    fitting: list[str] = []
    for group in (alone, combined):
        for changes in group:
            fitting += _first_that_fits(changes, memory, of_device)
        if fitting:
            break
    return fitting + _placements(schema, config, memory)


_Change = tuple[str, FeatureSchema, TrainConfig]
"""A change in words, with the columns and settings that result."""


def _first_that_fits(
    changes: Iterable[_Change], memory: Memory, of_device: bool
) -> list[str]:
    for words, schema, config in changes:
        plan = memory.plan(schema, config)
        if memory.holds(plan):
            num_bytes = plan.device if of_device else plan.host
            return [f"{words} ({format_byte_size(num_bytes)})"]
    return []


def _changes(
    schema: FeatureSchema, config: TrainConfig, data_dir: Path | None
) -> list[Iterator[_Change]]:
    return [
        _thresholds(schema, config, data_dir),
        _collisions(schema, config),
        _dims(schema, config),
        _members(schema, config),
    ]


def _row_wise(schema: FeatureSchema, config: TrainConfig) -> Iterator[_Change]:
    if config.optimizer.name in ("adagrad", "lazy_adam"):
        optimizer = replace(config.optimizer, name="row_wise_adagrad")
        words = "--optimizer.name row_wise_adagrad"
        yield words, schema, replace(config, optimizer=optimizer)


def _thresholds(
    schema: FeatureSchema, config: TrainConfig, data_dir: Path | None
) -> Iterator[_Change]:
    """Yield the data set with higher thresholds, if it holds frequencies."""
    if data_dir is None or schema.dialect != "default":
        return
    try:
        counts = {
            name: read_frequencies(data_dir, name, schema.vocabularies.get(name))
            for name in (feature.name for feature in schema.categorical_features)
        }
    except (OSError, pl.exceptions.PolarsError):
        return
    for threshold in THRESHOLDS:
        if threshold > (schema.min_frequency or 1):
            features = tuple(
                replace(
                    feature,
                    vocabulary_size=len(schema.reserved_ids)
                    + int((counts[feature.name] >= threshold).sum()),
                )
                for feature in schema.categorical_features
            )
            words = f"--min_frequency {threshold} for pipelines.prepare"
            yield words, replace(schema, categorical_features=features), config


def _collisions(schema: FeatureSchema, config: TrainConfig) -> Iterator[_Change]:
    """Yield settings with the quotient-remainder trick for large tables."""
    if not isinstance(config.model, DLRMConfig) or config.model.num_collisions:
        return
    for number in COLLISIONS:
        model = replace(
            config.model, num_collisions=number, collision_threshold=LARGE_TABLE
        )
        words = (
            f"--model.num_collisions {number} --model.collision_threshold {LARGE_TABLE}"
        )
        yield words, schema, replace(config, model=model)


def _dims(schema: FeatureSchema, config: TrainConfig) -> Iterator[_Change]:
    dim = getattr(config.model, "embedding_dim", 1)
    while (dim := dim // 2) >= SMALLEST_DIM:
        model: Any = replace(cast(Any, config.model), embedding_dim=dim)
        yield f"--model.embedding_dim {dim}", schema, replace(config, model=model)


def _members(schema: FeatureSchema, config: TrainConfig) -> Iterator[_Change]:
    for number in range(config.ensemble - 1, 0, -1):
        yield f"--ensemble {number}", schema, replace(config, ensemble=number)


def _placements(
    schema: FeatureSchema, config: TrainConfig, memory: Memory
) -> list[str]:
    """Return settings with tables sharded over GPUs, or in the memory of the host."""
    num_gpus = memory.num_devices
    fitting: list[str] = []
    if config.early_stopping is not None:
        return fitting  # its best weights are of ordinary tables
    if num_gpus and config.tables == "replicated" and config.strategy != "multi_worker":
        on_host = replace(config, tables="host")
        changes = [("--tables host", schema, on_host)]
        fitting += _first_that_fits(changes, memory, of_device=True)
    device = memory.device if num_gpus else UNKNOWN
    plan = memory_plan(schema, replace(config, tables="replicated"), max(1, num_gpus))
    sharded = replace(config, strategy="mirrored", tables="sharded")
    host = memory_plan(schema, sharded, max(2, num_gpus)).host
    free = device - plan.layers - plan.activations
    if free <= 0 or host > memory.host:
        return fitting
    number = max(2, -(-plan.with_tables // free))
    share = plan.layers + plan.activations + -(-plan.with_tables // number)
    words = "--strategy mirrored --tables sharded"
    return [*fitting, f"{words} on {number} GPUs ({format_byte_size(share)} on each)"]
