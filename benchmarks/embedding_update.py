"""`python -m benchmarks.embedding_update`: the update of one embedding table, alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.laboratory import machine
from benchmarks.laboratory.table import Cell, markdown
from benchmarks.workload.criteo_kaggle import EMBEDDING_DIM
from pipelines.synthetic import KAGGLE_VOCABULARY_SIZES
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import InputError

COLUMNS = (
    "optimizer",
    "table rows",
    "tfdlrm ms",
    "bare ms",
    "bare, distinct ids ms",
    "keras ms",
    "tfdlrm / bare",
    "tfdlrm / distinct",
    "keras / tfdlrm",
)


@dataclass(frozen=True)
class EmbeddingUpdateConfig:
    """Time the update of an embedding table from a batch's sparse gradient.

    Next to each optimizer of this project are the bare TensorFlow operation, with
    the ids as they come and with distinct ones whose gradients are added up already,
    and Keras' optimizer of the same rule.

    Args:
        table_rows: Rows of the table, 16 wide.
        batch_size: Rows of a batch; each names 26 ids, repetitions among them.
        seconds: Time of each measurement, at least.
        min_steps: Updates of each measurement, at least.
        seed: Seed of ids and gradients.
    """

    table_rows: tuple[int, ...] = (10_000, 1_000_000, 10_000_000)
    batch_size: int = 2048
    seconds: float = 2.0
    min_steps: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "min_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, expected >= 1")
        if not self.table_rows or min(self.table_rows) < 1:
            raise InputError(f"table_rows is {self.table_rows}, expected values >= 1")
        if self.seconds <= 0:
            raise InputError(f"seconds is {self.seconds}, expected > 0")


def measure(config: EmbeddingUpdateConfig) -> list[tuple[Cell, ...]]:
    """Return the rows of the table."""
    # Only now: TensorFlow's start-up log is silenced by `run_command`.
    from benchmarks.laboratory.timing import time_calls
    from benchmarks.peers import updates

    num_ids = config.batch_size * len(KAGGLE_VOCABULARY_SIZES)

    def ms(make_update: Callable[..., Any] | None, num_rows: int) -> float | None:
        if make_update is None:
            return None
        update = make_update(num_rows, num_ids, config.seed)
        return time_calls(update, config.seconds, config.min_steps).ms

    rows: list[tuple[Cell, ...]] = []
    for name in updates.names():
        for num_rows in config.table_rows:
            tfdlrm_ms = ms(updates.of_tfdlrm(name), num_rows)
            bare_ms = ms(updates.of_bare_operation(name, distinct=False), num_rows)
            distinct_ms = ms(updates.of_bare_operation(name, distinct=True), num_rows)
            keras = ms(updates.of_keras(name), num_rows)
            rows.append(
                (
                    name,
                    num_rows,
                    tfdlrm_ms,
                    bare_ms,
                    distinct_ms,
                    keras,
                    tfdlrm_ms / bare_ms if tfdlrm_ms and bare_ms else None,
                    tfdlrm_ms / distinct_ms if tfdlrm_ms and distinct_ms else None,
                    keras / tfdlrm_ms if tfdlrm_ms and keras else None,
                )
            )
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every optimizer and print the table."""
    config = parse(EmbeddingUpdateConfig, "benchmarks.embedding_update", argv)
    print(f"## Update of a table {EMBEDDING_DIM} wide\n\n{machine.describe()}\n")
    print(markdown(COLUMNS, measure(config)))


if __name__ == "__main__":
    run_command(main)
