"""`python -m benchmarks.runs.measure`: measure one system in this process.

`benchmarks.train_step` starts one such process after another, so that none inherits
the memory, the threads or the Keras of another.
"""

import importlib
import json
from collections.abc import Callable
from dataclasses import asdict

from benchmarks.laboratory import machine
from benchmarks.laboratory.measurement import CPU, Device, Job, Measurement, StepTime
from benchmarks.workload.criteo_kaggle import (
    NUM_BATCHES,
    make_batches,
    vocabulary_sizes,
)
from tfdlrm.base.command_line import parse, run_command

MODULES = {
    "tfdlrm": "benchmarks.peers.dlrm_tfdlrm",
    "tfdlrm-bf16": "benchmarks.peers.dlrm_tfdlrm",
    "tfdlrm-files": "benchmarks.peers.dlrm_files",
    "keras": "benchmarks.peers.dlrm_keras",
    "tfrs": "benchmarks.peers.dlrm_tfrs",
    "torch": "benchmarks.peers.dlrm_torch",
    "torch-bf16": "benchmarks.peers.dlrm_torch",
    "products": "benchmarks.peers.products",
    "products-bf16": "benchmarks.peers.products",
}

MOST_ROWS = 1 << 19


def measure(job: Job) -> Measurement:
    """Do a job, or return the reason why it cannot be done here."""
    step, gflops, gb_per_second = None, None, None
    try:
        used_device = _framework(job)
        is_emulated = used_device() == CPU and not machine.has_bfloat16()
        if job.system.endswith("-bf16") and is_emulated:
            return Measurement(job, note="no bfloat16 instructions")
        if job.system.startswith("ceiling"):
            gflops = _ceiling(job)
        elif job.system == "bandwidth":
            gb_per_second = _bandwidth(job)
        else:
            step = _time_step(job)
    except ModuleNotFoundError as error:
        return Measurement(job, note=f"{error.name} is not installed")
    peak_gb = machine.peak_memory_gb()
    return Measurement(job, step, gflops, peak_gb, used_device(), gb_per_second)


def _framework(job: Job) -> Callable[[], Device]:
    """Set TF32 in the job's framework, and return the function that names its device.

    The other framework is not imported: it would take the GPU's memory.
    """
    if job.system.startswith("torch"):
        from benchmarks.peers import dlrm_torch

        dlrm_torch.allow_tf32(job.tf32)
        return dlrm_torch.used_device
    import tensorflow as tf

    from benchmarks.laboratory import device

    tf.config.experimental.enable_tensor_float_32_execution(job.tf32)
    return device.used


def _ceiling(job: Job) -> float:
    from benchmarks.peers.ceiling import best_gflops

    dtype = "bfloat16" if job.system.endswith("-bf16") else "float32"
    return best_gflops(dtype, job.seconds)


def _bandwidth(job: Job) -> float:
    from benchmarks.peers.ceiling import gb_per_second

    return gb_per_second(job.seconds)


def _time_step(job: Job) -> StepTime:
    # The others may import what is not installed.
    system = importlib.import_module(MODULES[job.system])
    sizes = vocabulary_sizes(job.table_scale)
    # Batches of many rows are fewer: drawing them takes longer than the steps.
    num_batches = max(8, min(NUM_BATCHES, MOST_ROWS // job.batch_size))
    batches = make_batches(sizes, job.batch_size, job.seed, num_batches)
    return system.time_step(job, sizes, batches)


def main() -> None:
    """Read the job, do it, print the measurement as one line."""
    print(json.dumps(asdict(measure(parse(Job, "benchmarks.runs.measure")))))


if __name__ == "__main__":
    run_command(main)
