"""`python -m benchmarks.prepare`: raw text to shuffled shards, stage by stage."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.laboratory import machine
from benchmarks.laboratory.table import Cell, markdown
from benchmarks.runs.id_lookup import PIECE_ROWS, lookup_table
from benchmarks.runs.prepare_run import StageCost, measure
from benchmarks.workload.raw_file import write_rows
from tfdlrm.base.byte_size import parse_byte_size
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import InputError


@dataclass(frozen=True)
class PrepareBenchmark:
    """Time `python -m pipelines.prepare` on generated rows, in processes of their own.

    The rows have the columns and the numbers of distinct values of Criteo Kaggle. Each
    file is generated once and kept. Leave the machine alone meanwhile.

    Args:
        rows: Rows of each measurement, from few to many.
        work_dir: Directory for the raw files, which are kept, and the data sets, which
            are removed; null means one among temporary files.
        memory_budget: Option of the command.
        min_frequency: Option of the command; 1 makes the largest tables of ids.
        engine: Option of the command.
        master: Option of the command, for Spark. The memory of the processes that it
            starts is added up.
        vocabulary_sizes: Sizes of the vocabularies in which ids are looked up by this
            project's table and by libraries; `[]` for no such table.
    """

    rows: tuple[int, ...] = (1_000_000, 5_000_000)
    work_dir: Path | None = None
    memory_budget: str = "8GB"
    min_frequency: int = 10
    engine: Literal["local", "spark"] = "local"
    master: str | None = None
    vocabulary_sizes: tuple[int, ...] = (100_000, 1_000_000, 8_000_000)

    def __post_init__(self) -> None:
        if not self.rows or min(self.rows) < 1:
            raise InputError(f"rows is {self.rows}, expected numbers >= 1")
        parse_byte_size(self.memory_budget, "memory_budget")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure each size, print its table, and compare the largest with the smallest."""
    config = parse(
        PrepareBenchmark, "benchmarks.prepare", argv, renamed={"data": "work_dir"}
    )
    folder = config.work_dir or Path(tempfile.gettempdir()) / "tfdlrm-benchmark-prepare"
    print(f"## Preparing a data set\n\n{machine.describe()}", flush=True)
    totals = []
    for num_rows in config.rows:
        raw = folder / f"kaggle-like-{num_rows}.tsv"
        write_rows(raw, num_rows)
        stages = _measure(raw, folder / "data-set", config)
        num_bytes = raw.stat().st_size
        title = f"{num_rows:,} rows, {num_bytes / 1e9:.2f} GB of text"
        print(f"\n### {title}\n\n{stages_table(stages, num_rows, num_bytes)}")
        totals.append(stages[-1])
        print(f"\n{_budget_line(stages, config.memory_budget)}", flush=True)
    if len(totals) > 1:
        seconds_of_fewest, seconds_of_most = (
            total.seconds for total in (totals[0], totals[-1])
        )
        ratio = seconds_of_most / config.rows[-1] / (seconds_of_fewest / config.rows[0])
        print(
            f"\nA row of {config.rows[-1]:,} costs {ratio:.2f} times as long as a row "
            f"of {config.rows[0]:,}."
        )
    if config.vocabulary_sizes:
        title = f"Ids of {PIECE_ROWS:,} values at a time, CPU time"
        print(f"\n### {title}\n\n{lookup_table(config.vocabulary_sizes)}")


def _measure(raw: Path, output: Path, config: PrepareBenchmark) -> list[StageCost]:
    settings: dict[str, str | int] = {
        "memory_budget": config.memory_budget,
        "min_frequency": config.min_frequency,
        "engine": config.engine,
    }
    if config.master is not None:
        settings["master"] = config.master
    try:
        return measure(raw, output, settings)
    finally:
        shutil.rmtree(output, ignore_errors=True)


def stages_table(stages: Sequence[StageCost], num_rows: int, num_bytes: int) -> str:
    """Return a Markdown table of the cost of each stage.

    Args:
        stages: The stages; the last is the whole command.
        num_rows: Rows that each of them reads.
        num_bytes: Bytes of the raw text.
    """
    rows: list[list[Cell]] = []
    for stage in stages:
        # The command reports tenths of a second, so a short stage takes none.
        seconds = stage.seconds or float("nan")
        rates = [num_rows / seconds, num_bytes / seconds / 1e6]
        rows.append([stage.name, stage.seconds, *rates, stage.peak_gb, stage.disk_gb])
    header = ["stage", "s", "rows/s", "MB of text/s", "peak memory GB", "disk GB"]
    return markdown(header, rows)


def _budget_line(stages: Sequence[StageCost], memory_budget: str) -> str:
    peak = max(stage.peak_gb for stage in stages)
    budget = parse_byte_size(memory_budget, "memory_budget") / 1e9
    verdict = "within" if peak <= budget else "OVER"
    return f"Peak memory {peak:.2f} GB, {verdict} the budget of {memory_budget}."


if __name__ == "__main__":
    run_command(main)
