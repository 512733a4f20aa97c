"""The memory of a training run, worked out before anything is allocated."""

from dataclasses import dataclass
from typing import Literal

from tfdlrm.checkpoints.entries import MAX_COPY_BYTES, PIECE_BYTES
from tfdlrm.config import OptimizerConfig, TrainConfig
from tfdlrm.data.reading_order import WINDOW_ROWS
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.planning.model_size import ModelSize, Table, model_size

MAX_KERAS_BYTES = 10**9
"""Bytes of weights above which `tfdlrm.export` alone writes `model.keras`."""

CURVE_VALIDATION_ROWS = 200_000
"""Validation rows behind a point of the curves; the final measures use all of them."""

FLOAT_BYTES = 4

RUNTIME_BYTES = 700_000_000
"""TensorFlow, Keras, the compiled steps and the libraries behind them, on a CPU.

Measured: see docs/long_runs.md.
"""

WINDOWS_IN_FLIGHT = 4
"""Windows of rows that the input holds at once while it shuffles."""


Placement = Literal["replicated", "sharded", "host"]
"""The choices of `TrainConfig.tables`."""


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes of a training run, by their use.

    Args:
        size: The size of the model.
        tables: Embedding tables.
        table_state: Optimizer state of their rows.
        layers: All other weights, their gradients and their optimizer state.
        changed_rows: Flags of the rows that a checkpoint has to hold.
        activations: Activations of a batch and their gradients.
        input: Rows that are read ahead and shuffled.
        checkpoint: Copies that are written to checkpoints.
        runtime: The process itself.
        num_devices: GPUs; 0 for training on the CPU.
        placement: The placement of the tables, if there are GPUs.
    """

    size: ModelSize
    tables: int
    table_state: int
    layers: int
    changed_rows: int
    activations: int
    input: int
    checkpoint: int
    runtime: int
    num_devices: int = 0
    placement: Placement = "replicated"

    @property
    def with_tables(self) -> int:
        """Bytes of the tables, their state and the flags of their rows."""
        return self.tables + self.table_state + self.changed_rows

    @property
    def whole_tables(self) -> int:
        """Bytes of a second copy of sharded tables, in the host's memory.

        There the model is measured and exported.
        """
        is_sharded = self.placement == "sharded" and self.num_devices > 1
        return self.tables if is_sharded else 0

    @property
    def device(self) -> int:
        """Bytes on each device."""
        if not self.num_devices:
            return self.host
        shares = {"replicated": 1, "sharded": self.num_devices}
        share = 0
        if self.placement != "host":
            share = -(-self.with_tables // shares[self.placement])
        return share + self.layers + self.activations

    @property
    def host(self) -> int:
        """Bytes of the memory of the machine."""
        num_bytes = self.input + self.checkpoint + self.runtime
        if not self.num_devices:
            return num_bytes + self.with_tables + self.layers + self.activations
        on_host = self.with_tables if self.placement == "host" else self.whole_tables
        return num_bytes + on_host

    @property
    def checkpoint_file(self) -> int:
        """Bytes of a complete checkpoint on disk."""
        gradients = self.size.layers.trained * FLOAT_BYTES
        return self.tables + self.table_state + self.layers - gradients

    @property
    def keras_file(self) -> int:
        """Bytes of the run's `model.keras`; 0 for a model that has none."""
        is_small = self.size.parameters * FLOAT_BYTES <= MAX_KERAS_BYTES
        return self.checkpoint_file if is_small else 0


def memory_plan(
    schema: FeatureSchema,
    config: TrainConfig,
    num_devices: int = 0,
    num_machines: int = 1,
) -> MemoryPlan:
    """Return the memory of training a model on a data set, on each machine.

    Args:
        schema: The data set's columns, and rows if they are known.
        config: The run's settings.
        num_devices: GPUs of each machine that it trains on.
        num_machines: Machines, which share a batch.

    Raises:
        InputError: If the settings name columns that the data set does not have.
    """
    size = model_size(schema, config.model).times(config.ensemble)
    optimizer = config.optimizer
    tables = FLOAT_BYTES * sum(table.parameters for table in size.tables)
    state = sum(table_state(table, optimizer) for table in size.tables)
    slots = dense_slots(optimizer)
    trained = size.layers.trained
    layers = FLOAT_BYTES * (size.layers.parameters + (1 + slots) * trained)
    machine_batch = -(-config.batch_size // num_machines)
    batch = -(-machine_batch // max(1, num_devices))
    width = 2 if config.precision.startswith("mixed") else FLOAT_BYTES
    row = FLOAT_BYTES * (
        1 + len(schema.dense_features) + len(schema.categorical_features)
    )
    # Each activation is held until the backward pass, which computes its gradient.
    activations = 2 * width * batch * size.layers.widths
    decays_all = bool(optimizer.table_l2) and optimizer.decay_of == "all"
    whole_gradients = 2 * tables if decays_all else 0  # of tables, and of their penalty
    # Each member of an ensemble reads in its own order.
    rows_ahead = WINDOWS_IN_FLIGHT * WINDOW_ROWS + 2 * machine_batch
    curves = min(schema.num_rows("validation"), CURVE_VALIDATION_ROWS)
    return MemoryPlan(
        size=size,
        tables=tables,
        table_state=state,
        layers=layers,
        changed_rows=sum(table.rows for table in size.tables),
        activations=activations + whole_gradients,
        input=row * (config.ensemble * rows_ahead + curves),
        checkpoint=min(tables + state, MAX_COPY_BYTES) + 2 * PIECE_BYTES,
        runtime=RUNTIME_BYTES,
        num_devices=num_devices,
        placement=config.tables,
    )


def dense_slots(optimizer: OptimizerConfig) -> int:
    """Return the numbers of state that dense layers have for each weight."""
    dense = optimizer.dense
    if dense.name is None:
        return {"sgd": 0, "lazy_adam": 2}.get(optimizer.name, 1)
    # Adafactor has those of rows and columns as well.
    with_one = ("rmsprop", "adagrad", "adafactor", "lion")
    slots = {"sgd": 0, **dict.fromkeys(with_one, 1)}.get(dense.name, 2)
    return slots + bool(dense.momentum)


def table_state(table: Table, optimizer: OptimizerConfig) -> int:
    """Return the bytes of an optimizer's state for the rows of a table."""
    numbers = {
        "sgd": 0,
        "adagrad": table.parameters,
        "row_wise_adagrad": table.rows,
        "lazy_adam": 2 * table.parameters,
    }
    decay = 2 * table.rows if optimizer.decays_late else 0  # of 8 bytes
    return FLOAT_BYTES * (numbers[optimizer.name] + decay)
