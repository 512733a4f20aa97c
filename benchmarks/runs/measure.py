"""`python -m benchmarks.runs.measure`: measure one system in this process.

`benchmarks.train_step` starts one such process after another, so that none inherits
the memory, the threads or the Keras of another.
"""

import importlib
import json
from dataclasses import asdict

from benchmarks.laboratory import machine
from benchmarks.laboratory.measurement import Job, Measurement, StepTime
from benchmarks.workload.criteo_kaggle import make_batches, vocabulary_sizes
from tfdlrm.base.command_line import parse, run_command

MODULES = {
    "tfdlrm": "benchmarks.peers.dlrm_tfdlrm",
    "tfdlrm-bf16": "benchmarks.peers.dlrm_tfdlrm",
    "tfdlrm-files": "benchmarks.peers.dlrm_files",
    "keras": "benchmarks.peers.dlrm_keras",
    "tfrs": "benchmarks.peers.dlrm_tfrs",
    "torch": "benchmarks.peers.dlrm_torch",
    "products": "benchmarks.peers.products",
    "products-bf16": "benchmarks.peers.products",
}


def measure(job: Job) -> Measurement:
    """Do a job, or say why it cannot be done here."""
    if job.system.endswith("-bf16") and not machine.has_bfloat16():
        return Measurement(job, note="no bfloat16 instructions")
    step, gflops = None, None
    try:
        if job.system.startswith("ceiling"):
            gflops = _ceiling(job)
        else:
            step = _time_step(job)
    except ModuleNotFoundError as error:
        return Measurement(job, note=f"{error.name} is not installed")
    return Measurement(job, step, gflops, machine.peak_memory_gb())


def _ceiling(job: Job) -> float:
    from benchmarks.peers.ceiling import best_gflops

    dtype = "bfloat16" if job.system.endswith("-bf16") else "float32"
    return best_gflops(dtype, job.seconds)


def _time_step(job: Job) -> StepTime:
    # Only now, and only the one: these import what may not be installed.
    system = importlib.import_module(MODULES[job.system])
    sizes = vocabulary_sizes(job.table_scale)
    return system.time_step(job, sizes, make_batches(sizes, job.batch_size, job.seed))


def main() -> None:
    """Read the job, do it, print the measurement as one line."""
    print(json.dumps(asdict(measure(parse(Job, "benchmarks.runs.measure")))))


if __name__ == "__main__":
    run_command(main)
