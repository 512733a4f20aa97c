"""Tables of measurements on a GPU."""

import math
from collections.abc import Sequence

from benchmarks.laboratory.measurement import CPU, Job, Measurement
from benchmarks.laboratory.report import ceiling_rate, percent
from benchmarks.laboratory.table import Cell, markdown
from benchmarks.laboratory.traffic import bytes_per_step

STEP_COLUMNS = (
    "system",
    "tables",
    "batch",
    "precision",
    "ms/step",
    "samples/s",
    "speed vs torch",
    "of matrix ceiling",
    "of bandwidth",
    "GB on device",
    "device",
    "note",
)


def device_line(measurement: Measurement) -> str:
    """Return one line about the device that TensorFlow computes on."""
    if measurement.device is None:
        return f"The device is not known: {measurement.note}."
    if measurement.device == CPU:
        return (
            "TensorFlow sees no GPU here: it computes on the CPU. What follows shows "
            "that the command works, and nothing of a GPU's speed."
        )
    return f"Device: {measurement.device.name}."


def precision_of(job: Job) -> str:
    """Return the precision of the factors of a job's matrix products."""
    if job.system.endswith("-bf16"):
        return "bfloat16"
    return "tf32" if job.tf32 else "float32"


def ceilings_table(measurements: Sequence[Measurement]) -> str:
    """Return the speed of large matrix products in each precision, and of memory."""
    rows: list[Sequence[Cell]] = []
    for m in measurements:
        is_memory = m.job.system == "bandwidth"
        ceiling = "memory" if is_memory else f"products, {precision_of(m.job)}"
        unit = "GB/s" if is_memory else "GFLOP/s"
        rows.append((ceiling, m.gb_per_second if is_memory else m.gflops, unit, m.note))
    return markdown(("ceiling", "reached", "unit", "note"), rows)


def steps_table(
    measurements: Sequence[Measurement], ceilings: Sequence[Measurement]
) -> str:
    """Return every training step, compared with PyTorch's and the device's ceilings.

    "speed vs torch" is a step's speed divided by that of PyTorch's step with the same
    settings on the same device.

    Args:
        measurements: Training steps.
        ceilings: The measurements in `ceilings_table`.
    """
    gflops = {precision_of(m.job): m.gflops for m in ceilings if m.gflops}
    bandwidth = next((m.gb_per_second for m in ceilings if m.gb_per_second), math.nan)
    peers = {_conditions(m): m for m in measurements if _system(m) == "torch"}
    rows: list[Sequence[Cell]] = []
    for m in measurements:
        rate, precision = m.samples_per_second, precision_of(m.job)
        seconds = m.step.ms / 1000 if m.step else math.nan
        peer = peers.get(_conditions(m))
        most = ceiling_rate(gflops.get(precision, math.nan))
        gb = bytes_per_step(m.job) / 1e9 if m.step else math.nan
        rows.append(
            (
                _system(m),
                m.job.tables,
                m.job.batch_size,
                precision,
                m.step.ms if m.step else None,
                rate,
                rate / peer.samples_per_second if peer else None,
                percent(rate / most),
                percent(gb / seconds / bandwidth),
                m.device.peak_gb if m.device else None,
                m.device.name if m.device else "-",
                m.note,
            )
        )
    return markdown(STEP_COLUMNS, rows)


def _system(measurement: Measurement) -> str:
    return measurement.job.system.removesuffix("-bf16")


def _conditions(measurement: Measurement) -> tuple:
    """Return the settings that two measurements must share to be compared."""
    job, device = measurement.job, measurement.device
    name = device.name if device else None
    return job.batch_size, job.tables, precision_of(job), job.optimizer, name
