"""Whether a run fits into memory, and what would where it does not."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet

from tfdlrm.base.byte_size import format_byte_size
from tfdlrm.base.checksums import checked_bytes
from tfdlrm.base.devices import count_gpus
from tfdlrm.base.errors import InputError
from tfdlrm.base.local_copies import local_copy
from tfdlrm.config import TrainConfig
from tfdlrm.config.cluster import Cluster
from tfdlrm.config.models import DLRMConfig
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.dialects import traits_of
from tfdlrm.data.schema import FeatureSchema
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
"""Rows of a table from which on it is a burden."""

SMALLEST_DIM = 4


@dataclass(frozen=True)
class Memory:
    """Bytes there are.

    Args:
        host: Of the machine's memory, free.
        device: Of each GPU, free for TensorFlow.
        num_devices: GPUs of the machine.
        num_machines: Machines that are each like this one.
    """

    host: int
    device: int = UNKNOWN
    num_devices: int = 0
    num_machines: int = 1

    def plan(self, schema: FeatureSchema, config: TrainConfig) -> MemoryPlan:
        """Return what a run takes on this many devices."""
        return memory_plan(schema, config, self.num_devices, self.num_machines)

    def holds(self, plan: MemoryPlan) -> bool:
        """Whether a run fits."""
        return plan.host <= self.host and not self.lacks_device(plan)

    def lacks_device(self, plan: MemoryPlan) -> bool:
        """Whether it is a GPU that is too small."""
        return plan.num_devices > 0 and plan.device > self.device


def memory_here(strategy: str, num_devices: int | None = None) -> Memory:
    """Return the memory that this machine has for a run.

    Args:
        strategy: The run's; `default` uses one GPU at most, and for `multi_worker`
            `TF_CONFIG` tells the machines.
        num_devices: GPUs of this machine; `None` for those that TensorFlow sees.

    Raises:
        InputError: If `TF_CONFIG` is needed and is not set or malformed.
    """
    host = available_memory()  # before TensorFlow takes some, which is planned
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
        memory: What there is.
        data_dir: The data set, which knows how frequent its values are.

    Raises:
        InputError: If it cannot fit; the message says by how much, and which other
            settings would.
    """
    plan = memory.plan(schema, config)
    if memory.holds(plan):
        return
    required, available, where = plan.host, memory.host, "memory"
    if memory.lacks_device(plan):
        required, available, where = plan.device, memory.device, "memory of each GPU"
    fitting_settings = suggestions(schema, config, memory, data_dir)
    advice = (
        "; ".join(fitting_settings) or "no setting alone would, make the tables smaller"
    )
    raise InputError(
        f"this run needs {format_byte_size(required)} of {where}, and "
        f"{format_byte_size(available)} are there. What would fit: {advice}"
    )


def suggestions(
    schema: FeatureSchema,
    config: TrainConfig,
    memory: Memory,
    data_dir: Path | None = None,
) -> list[str]:
    """List other settings that would fit, each with the bytes that it needs.

    Of each kind the least change that is enough. Where none alone is, the same beside
    an optimizer that keeps one number a row.
    """
    of_device = memory.lacks_device(memory.plan(schema, config))
    alone = [_row_wise(schema, config), *_changes(schema, config, data_dir)]
    together = []
    for words, _, changed in _row_wise(schema, config):
        for changes in _changes(schema, changed, data_dir):
            together.append(((f"{words} {w}", s, c) for w, s, c in changes))
    fitting_settings: list[str] = []
    for alternatives in (alone, together):
        for changes in alternatives:
            fitting_settings += _first_that_fits(changes, memory, of_device)
        if fitting_settings:
            break
    return fitting_settings + _placements(schema, config, memory)


_Change = tuple[str, FeatureSchema, TrainConfig]
"""A change in words, and the columns and settings that it makes."""


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
    ]


def _row_wise(schema: FeatureSchema, config: TrainConfig) -> Iterator[_Change]:
    if config.optimizer.name in ("adagrad", "lazy_adam"):
        optimizer = replace(config.optimizer, name="row_wise_adagrad")
        words = "--optimizer.name row_wise_adagrad"
        yield words, schema, replace(config, optimizer=optimizer)


def _thresholds(
    schema: FeatureSchema, config: TrainConfig, data_dir: Path | None
) -> Iterator[_Change]:
    """Yield the data set prepared with higher thresholds, if it knows frequencies."""
    if data_dir is None or not traits_of(schema.dialect).has_threshold:
        return
    try:
        counts = {
            feature.name: _frequencies(data_dir, schema, feature.name)
            for feature in schema.categorical_features
        }
    except (OSError, KeyError, pyarrow.ArrowInvalid):
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


def _frequencies(data_dir: Path, schema: FeatureSchema, name: str) -> np.ndarray:
    path = local_copy(vocabulary_path(data_dir, name))
    contents = checked_bytes(path, schema.vocabularies.get(name))
    file = pyarrow.BufferReader(contents)
    table = pyarrow.parquet.read_table(file, columns=["frequency"])
    return table["frequency"].to_numpy()


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


def _placements(
    schema: FeatureSchema, config: TrainConfig, memory: Memory
) -> list[str]:
    """List placements of the tables: on several GPUs, or in host memory."""
    num_here = memory.num_devices
    placements: list[str] = []
    if config.early_stopping is not None:
        return placements  # its best weights are of ordinary tables
    if num_here and config.tables == "replicated" and config.strategy != "multi_worker":
        beside = replace(config, tables="host")
        changes = [("--tables host", schema, beside)]
        placements += _first_that_fits(changes, memory, of_device=True)
    device_bytes = memory.device if num_here else UNKNOWN
    plan = memory_plan(schema, replace(config, tables="replicated"), max(1, num_here))
    spread = replace(config, strategy="mirrored", tables="sharded")
    host = memory_plan(schema, spread, max(2, num_here)).host
    room = device_bytes - plan.layers - plan.activations
    if room <= 0 or host > memory.host:
        return placements
    number = max(2, -(-plan.with_tables // room))
    share = plan.layers + plan.activations + -(-plan.with_tables // number)
    words = "--strategy mirrored --tables sharded"
    return [
        *placements,
        f"{words} on {number} GPUs ({format_byte_size(share)} on each)",
    ]
