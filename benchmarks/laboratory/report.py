"""From measurements of training steps to the tables that are printed."""

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
    """The speed of large matrix products, and what it allows at most."""
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
    """Every system's training step, of one batch size and table scale.

    "speed vs tfdlrm" is a row's speed divided by that of the first `tfdlrm` row with
    the same optimizer: 0.5 is half as fast.

    Args:
        measurements: What was measured, in the order of the rows.
        ceilings: What `ceiling_rates` found.
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
    """The same systems with large and with small tables.

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
    """Samples a second that each dtype's matrix products allow at most."""
    return {
        "bfloat16" if _is_bfloat16(m) else "float32": ceiling_rate(m.gflops)
        for m in measurements
        if m.gflops is not None
    }


def ceiling_rate(gflops: float) -> float:
    """Samples a second that so many 10^9 operations a second allow at most."""
    return gflops * 1e9 / flops_per_sample()


def _is_bfloat16(measurement: Measurement) -> bool:
    return measurement.job.system.endswith("-bf16")


def _base_rate(measurements: Sequence[Measurement], optimizer: str) -> float:
    for m in measurements:
        if (m.job.system, m.job.optimizer) == (BASE, optimizer):
            return m.samples_per_second
    return math.nan


def percent(share: float) -> str:
    """A share as a cell of a table."""
    return "-" if math.isnan(share) else f"{share:.0%}"
