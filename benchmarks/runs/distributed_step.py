"""`python -m benchmarks.runs.distributed_step`: one worker's part of a training step.

`benchmarks.distribution` starts such processes, with a `TF_CONFIG` where there are
several workers.
"""

import json
import os
import socket
import stat
import struct
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.workload.criteo_kaggle import (
    LEARNING_RATE,
    make_batches,
    vocabulary_sizes,
)
from tfdlrm.base.command_line import parse, run_command

Strategy = Literal["default", "mirrored", "multi_worker"]
Tables = Literal["replicated", "sharded", "host"]

NUM_BATCHES = 16
BYTES_ACKED = 120
"""Position in Linux's `tcp_info` of the bytes that the other side has received."""


@dataclass(frozen=True)
class DistributedJob:
    """Time a training step and print the result as JSON.

    Args:
        strategy: As of `tfdlrm.train`.
        tables: As of `tfdlrm.train`.
        devices: Logical CPUs of a mirrored run.
        batch_size: Rows in a step, over all devices and workers.
        table_scale: Factor of the published vocabulary sizes.
        steps: Steps measured.
    """

    strategy: Strategy = "default"
    tables: Tables = "replicated"
    devices: int = 1
    batch_size: int = 2048
    table_scale: float = 0.1
    steps: int = 30


@dataclass(frozen=True)
class DistributedTime:
    """What a worker measured.

    Args:
        ms: Milliseconds a step.
        sent: Bytes a step that it sent to others; `None` where that is not known.
        held: Bytes of tables, and of the optimizer's state for them, on the device that
            holds most.
    """

    ms: float
    sent: int | None
    held: int


def measure(job: DistributedJob) -> DistributedTime:
    """Do a job in this process, which must not have used TensorFlow before."""
    import keras
    import tensorflow as tf

    from benchmarks.peers.dlrm_tfdlrm import build
    from tfdlrm.optimizers import Adagrad
    from tfdlrm.training.distribution import distributed, strategy, tables_placed

    cpu = tf.config.list_physical_devices("CPU")[0]
    if job.devices > 1:
        logical = [tf.config.LogicalDeviceConfiguration()] * job.devices
        tf.config.set_logical_device_configuration(cpu, logical)
    devices = strategy(job.strategy)
    sizes = vocabulary_sizes(job.table_scale)
    with devices.scope(), tables_placed(devices, job.tables):
        model = build(sizes)
        model.compile(
            optimizer=Adagrad(LEARNING_RATE),
            loss=keras.losses.BinaryCrossentropy(from_logits=True),
        )
        model.optimizer.build(model.trainable_variables)

    def batches(share: Any) -> tf.data.Dataset:
        all_batches = make_batches(
            sizes, job.batch_size, seed=0, num_batches=NUM_BATCHES
        )
        share_of_rows = (
            slice(None) if share is None else slice(share.worker, None, num_workers)
        )
        features = {
            "dense_features": all_batches.dense[:, share_of_rows],
            "categorical_features": all_batches.ids[:, share_of_rows],
        }
        labels = all_batches.labels[:, share_of_rows, None]
        return tf.data.Dataset.from_tensor_slices((features, labels)).repeat()

    num_workers = _num_workers()
    marks: list[tuple[float, int | None]] = []
    mark = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: marks.append(
            (time.perf_counter(), bytes_sent())
        ),
        on_epoch_end=lambda epoch, logs: marks.append(
            (time.perf_counter(), bytes_sent())
        ),
    )
    model.fit(
        distributed(devices, batches),
        epochs=2,  # the first compiles
        steps_per_epoch=job.steps,
        callbacks=[mark],
        verbose=0,
        shuffle=False,
    )
    (start, sent_before), (end, sent_after) = marks[2:]
    exchanged = None
    if sent_before is not None and sent_after is not None:
        exchanged = (sent_after - sent_before) // job.steps
    return DistributedTime(
        (end - start) / job.steps * 1000, exchanged, bytes_held(model)
    )


def bytes_held(model: Any) -> int:
    """Return the bytes of tables and their state on the device that holds most."""
    copies_of = model.distribute_strategy.experimental_local_results
    tables = {tuple(table.shape) for table in model.embeddings.tables}
    by_device: dict[str, int] = {}
    for variable in [*model.weights, *model.optimizer.variables]:
        if tuple(variable.shape) in tables:
            for copy in copies_of(variable.value):
                num_bytes = copy.shape.num_elements() * copy.dtype.size
                by_device[copy.device] = by_device.get(copy.device, 0) + num_bytes
    return max(by_device.values())


def bytes_sent() -> int | None:
    """Return the bytes that this process' TCP connections have sent, on Linux."""
    directory = Path("/proc/self/fd")
    if not directory.is_dir():
        return None
    total = 0
    for entry in list(directory.iterdir()):
        try:
            if not stat.S_ISSOCK(entry.stat().st_mode):
                continue
            with socket.socket(fileno=os.dup(int(entry.name))) as open_socket:
                info = open_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        except OSError:
            continue  # no TCP connection, or closed meanwhile
        if len(info) >= BYTES_ACKED + 8:
            total += struct.unpack_from("<Q", info, BYTES_ACKED)[0]
    return total


def _num_workers() -> int:
    config = json.loads(os.environ.get("TF_CONFIG", "{}"))
    return len(config.get("cluster", {}).get("worker", [])) or 1


def main() -> None:
    """Read the job, do it, print the measurement as one line."""
    job = parse(DistributedJob, "benchmarks.runs.distributed_step")
    print(json.dumps(asdict(measure(job))))


if __name__ == "__main__":
    run_command(main)
