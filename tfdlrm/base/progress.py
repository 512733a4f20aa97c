"""Progress of a stage: a bar with rows/s on a terminal, one line elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.progress import TimeRemainingColumn as RemainingColumn

from tfdlrm.base.plain_text import visible

Advance = Callable[[int, int], None]
"""A function that takes the units of work and the rows that are done so far."""


@contextmanager
def stage(name: str, total: int) -> Iterator[Advance]:
    """Show the progress of one stage.

    Args:
        name: What the stage does, such as `read rows`.
        total: Units of work in all: bytes, rows or columns.

    Yields:
        The function to call after each step.
    """
    name = visible(name)
    console = Console()
    start, rows_done = time.perf_counter(), 0
    columns = (
        TextColumn("{task.description:<18}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        RemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=total, rate="")

        def advance(units: int, rows: int) -> None:
            nonlocal rows_done
            rows_done = rows
            bar.update(task, completed=units, rate=rate(rows, start))

        yield advance
    if not console.is_terminal:
        seconds = time.perf_counter() - start
        rows_per_second = rate(rows_done, start)
        print(f"{name}: {rows_done:,} rows in {seconds:.1f} s ({rows_per_second})")


def rate(rows: int, start: float) -> str:
    """Return the rows per second since `start`, in words."""
    return f"{rows / (time.perf_counter() - start):,.0f} rows/s"
