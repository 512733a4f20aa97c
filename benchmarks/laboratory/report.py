"""Tables of measurements of training steps."""

import math
from collections.abc import Sequence

from benchmarks.laboratory.measurement import Measurement
from benchmarks.laboratory.table import Cell, markdown
from benchmarks.workload.criteo_kaggle import flops_per_sample

BASE = "tfdlrm"
STEP_COLUMNS = (
    "system",
    "optimizer",
    "steps per execution",
    "ms/step",
    "samples/s",
    "speed vs tfdlrm",
    "of ceiling",
    "peak GB",
    "note",
)


def ceilings_table(measurements: Sequence[Measurement]) -> str:
    """Return the speed of large matrix products, and the samples that it allows."""
    rows = [
        (
            m.job.system,
            m.gflops,
            None if m.gflops is None else ceiling_rate(m.gflops),
            m.note,
        )
        for m in measurements
        if m.job.system.startswith("ceiling")
    ]
    return markdown(("system", "GFLOP/s", "samples/s", "note"), rows)


def steps_table(measurements: Sequence[Measurement], ceilings: dict[str, float]) -> str:
    """Return the training steps of all systems with one batch size and table scale.

    "speed vs tfdlrm" is a row's speed divided by that of the first `tfdlrm` row with
    the same optimizer: 0.5 is half as fast.

    Args:
        measurements: Measurements in the order of the rows.
        ceilings: Rates from `ceiling_rates`.
    """
    rows: list[tuple[Cell, ...]] = []
    for m in measurements:
        rate = m.samples_per_second
        ceiling = ceilings.get("bfloat16" if _is_bfloat16(m) else "float32", math.nan)
        rows.append(
            (
                m.job.system,
                m.job.optimizer,
                m.job.steps_per_execution,
                m.step.ms if m.step else None,
                rate,
                rate / _base_rate(measurements, m.job.optimizer),
                percent(rate / ceiling),
                m.peak_gb,
                m.note,
            )
        )
    return markdown(STEP_COLUMNS, rows)


def scales_table(large: Sequence[Measurement], small: Sequence[Measurement]) -> str:
    """Return the steps of the same systems with large and with small tables.

    Args:
        large: Measurements with large tables.
        small: Those of the same systems with small tables, in the same order.
    """
    rows = [
        (
            m.job.system,
            m.step.ms if m.step else None,
            n.step.ms if n.step else None,
            m.step.ms / n.step.ms if m.step and n.step else None,
        )
        for m, n in zip(large, small, strict=True)
    ]
    scales = [
        f"ms/step, tables x {measurements[0].job.table_scale:g}"
        for measurements in (large, small)
    ]
    return markdown(("system", *scales, "quotient"), rows)


def ceiling_rates(measurements: Sequence[Measurement]) -> dict[str, float]:
    """Return the most samples a second that each dtype's matrix products allow."""
    return {
        "bfloat16" if _is_bfloat16(m) else "float32": ceiling_rate(m.gflops)
        for m in measurements
        if m.gflops is not None
    }


def ceiling_rate(gflops: float) -> float:
    """Return the most samples a second that a speed in 10^9 operations allows."""
    return gflops * 1e9 / flops_per_sample()


def _is_bfloat16(measurement: Measurement) -> bool:
    return measurement.job.system.endswith("-bf16")


def _base_rate(measurements: Sequence[Measurement], optimizer: str) -> float:
    for m in measurements:
        if (m.job.system, m.job.optimizer) == (BASE, optimizer):
            return m.samples_per_second
    return math.nan


def percent(share: float) -> str:
    """Return a share as a cell of a table."""
    return "-" if math.isnan(share) else f"{share:.0%}"
