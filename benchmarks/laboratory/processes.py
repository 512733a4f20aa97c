"""Run jobs in processes of their own, one after another."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.laboratory.measurement import Job, Measurement
from tfdlrm.base.errors import InputError

ROOT = Path(__file__).parents[2]


class Laboratory:
    """Runs jobs one after another, each of them once.

    Args:
        jobs: All jobs that will be asked for, to show progress.
        minutes: Time for all of them; jobs that it does not reach are left out.
    """

    def __init__(self, jobs: Sequence[Job], minutes: float | None = None) -> None:
        self.num_jobs = len(set(jobs))
        self.minutes = minutes
        self.start = time.monotonic()
        self.done: dict[Job, Measurement] = {}

    def measure(self, jobs: Sequence[Job]) -> list[Measurement]:
        """Return the results of jobs, in order."""
        for job in jobs:
            if job not in self.done:
                _show_progress(len(self.done) + 1, self.num_jobs, job)
                self.done[job] = self._measure(job)
        return [self.done[job] for job in jobs]

    def _measure(self, job: Job) -> Measurement:
        if self.minutes is None:
            return run_job(job)
        seconds_left = 60 * self.minutes - (time.monotonic() - self.start)
        try:
            if seconds_left > 0:
                return run_job(job, seconds_left)
        except subprocess.TimeoutExpired:
            pass
        return Measurement(job, note=f"left out: {self.minutes:g} minutes were over")

    @property
    def num_failed(self) -> int:
        """Number of jobs that went wrong."""
        return sum(result.is_failure for result in self.done.values())


def run_job(job: Job, timeout: float | None = None) -> Measurement:
    """Do a job in a process of its own; an error there becomes a note.

    Args:
        job: The job.
        timeout: Kill the process after so many seconds.

    Raises:
        subprocess.TimeoutExpired: If it was killed.
    """
    try:
        return Measurement.from_json(answer_of("runs.measure", timeout, **asdict(job)))
    except InputError as error:
        # A bar would end the cell of the table that shows it.
        note = str(error)[:100].replace("|", "/")
        return Measurement(job, note=f"failed: {note}", is_failure=True)


def answer_of(module: str, timeout: float | None = None, /, **options: object) -> Any:
    """Return the JSON that a module of `benchmarks` prints last, run on its own.

    Args:
        module: Its name.
        timeout: Kill the process after so many seconds.
        options: Its options.

    Raises:
        subprocess.TimeoutExpired: If the process was killed for its time.
        InputError: If it fails, with the last line that it printed and its command.
    """
    arguments = [f"--{name}={value}" for name, value in options.items()]
    process = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    if process.returncode:
        message = (process.stderr.strip().splitlines() or ["no message"])[-1]
        if process.returncode < 0:
            message = f"killed by signal {-process.returncode}"
        command = " ".join(["python -m", f"benchmarks.{module}", *arguments])
        raise InputError(f"{message} (in {command})")
    return json.loads(process.stdout.splitlines()[-1])


def _show_progress(number: int, num_jobs: int, job: Job) -> None:
    title: str = job.system
    if not job.system.startswith(("ceiling", "bandwidth")):
        title += (
            f", {job.optimizer}, batch {job.batch_size}, "
            f"{job.steps_per_execution} steps at once, tables x {job.table_scale:g}"
        )
    if job.tables == "host":
        title += " in the machine's memory"
    if not job.tf32:
        title += ", without TF32"
    print(f"[{number}/{num_jobs}] {title}", file=sys.stderr, flush=True)
