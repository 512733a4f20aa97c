"""Jobs done in processes of their own, one after another."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.laboratory.measurement import Job, Measurement
from tfdlrm.base.errors import InputError

ROOT = Path(__file__).parents[2]


class Laboratory:
    """Does jobs one after another, each of them once.

    Args:
        jobs: All that will be asked for, for the progress shown.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.num_jobs = len(set(jobs))
        self.done: dict[Job, Measurement] = {}

    def measure(self, jobs: Sequence[Job]) -> list[Measurement]:
        """Results of `jobs`, in order."""
        for job in jobs:
            if job not in self.done:
                _show_progress(len(self.done) + 1, self.num_jobs, job)
                self.done[job] = run_job(job)
        return [self.done[job] for job in jobs]

    @property
    def num_failed(self) -> int:
        """How many jobs went wrong."""
        return sum(result.is_failure for result in self.done.values())


def run_job(job: Job) -> Measurement:
    """Do a job in a process of its own; what goes wrong there becomes a note."""
    try:
        return Measurement.from_json(answer_of("measure", **asdict(job)))
    except InputError as error:
        # A bar would end the cell of the table that shows it.
        note = str(error)[:100].replace("|", "/")
        return Measurement(job, note=f"failed: {note}", is_failure=True)


def answer_of(module: str, **options: object) -> Any:
    """The JSON that a module of `benchmarks.runs` prints last, in a process of its own.

    Args:
        module: Its name.
        options: Its options.

    Raises:
        InputError: If it fails, with the last line that it said and its command.
    """
    given = [f"--{name}={value}" for name, value in options.items()]
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.runs.{module}", *given],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        if done.returncode < 0:
            said = f"killed by signal {-done.returncode}"
        command = " ".join(["python -m", f"benchmarks.runs.{module}", *given])
        raise InputError(f"{said} (in {command})")
    return json.loads(done.stdout.splitlines()[-1])


def _show_progress(place: int, num_jobs: int, job: Job) -> None:
    what: str = job.system
    if not job.system.startswith("ceiling"):
        what += (
            f", {job.optimizer}, batch {job.batch_size}, "
            f"{job.steps_per_execution} steps at once, tables x {job.table_scale:g}"
        )
    print(f"[{place}/{num_jobs}] {what}", file=sys.stderr, flush=True)
