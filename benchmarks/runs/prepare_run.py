"""One run of `python -m pipelines.prepare`, watched from outside. For Linux."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.laboratory.processes import ROOT
from tfdlrm.base.errors import InputError

_STAGE = re.compile(r"(.+): [\d,]+ rows in ([\d.]+) s \(")
_SECONDS_BETWEEN_LOOKS = 0.05


@dataclass(frozen=True)
class StageCost:
    """The cost of a stage.

    Args:
        name: The stage.
        seconds: Time.
        peak_gb: Peak resident memory of the process during the stage, and of those that
            it started, added up.
        disk_gb: Largest size during the stage of what the command had on disk.
    """

    name: str
    seconds: float
    peak_gb: float
    disk_gb: float


def measure(
    raw: Path, output: Path, settings: Mapping[str, str | int]
) -> list[StageCost]:
    """Run the command and measure the cost of each stage.

    Args:
        raw: The raw file.
        output: The data set directory to make.
        settings: Options of the command.

    Returns:
        The stages in order, and then the whole command with its start.

    Raises:
        InputError: If the command fails.
    """
    options = [f"--{name}={value}" for name, value in settings.items()]
    start = time.perf_counter()
    child = subprocess.Popen(
        [
            *(sys.executable, "-u", "-m", "pipelines.prepare", *options),
            *("--output", str(output), "--raw", str(raw)),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    watch = _Watch(child.pid, output)
    stages: list[StageCost] = []
    try:
        for line in child.stdout or ():
            if match := _STAGE.match(line):
                stages.append(StageCost(match[1], float(match[2]), *watch.next_stage()))
        status = child.wait()
        seconds = time.perf_counter() - start
    finally:
        command_cost = watch.stop()
    if status:
        raise InputError(f"pipelines.prepare failed with status {status}")
    return [*stages, StageCost("whole command", seconds, *command_cost)]


class _Watch:
    """A thread that measures a process and its files again and again."""

    def __init__(self, pid: int, output: Path) -> None:
        self._pid = pid
        partial = output.with_name(f".{output.name}.partial")
        self._directories = (output, partial)
        self._peaks = [0.0, 0.0]
        self._highest = [0.0, 0.0]
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def next_stage(self) -> tuple[float, float]:
        """Return the peak memory and disk in GB since the last call."""
        self._look()
        with self._lock:
            peaks = self._peaks
            self._peaks = [0.0, 0.0]
            self._forget_peak_memory()
        return peaks[0], peaks[1]

    def stop(self) -> tuple[float, float]:
        """End the thread, and return the peak memory and disk in GB of all stages."""
        self._stopped.set()
        self._thread.join()
        return self._highest[0], self._highest[1]

    def _run(self) -> None:
        while not self._stopped.wait(_SECONDS_BETWEEN_LOOKS):
            self._look()

    def _look(self) -> None:
        disk = sum(_size(directory) for directory in self._directories) / 1e9
        with self._lock:
            now = (self._peak_memory(), disk)
            self._peaks = [max(pair) for pair in zip(self._peaks, now, strict=True)]
            self._highest = [max(pair) for pair in zip(self._highest, now, strict=True)]

    def _peak_memory(self) -> float:
        return sum(_peak_bytes(pid) for pid in _tree(self._pid)) / 1e9

    def _forget_peak_memory(self) -> None:
        for pid in _tree(self._pid):
            with suppress(OSError):  # the process may just have ended
                Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="utf-8")


def _tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    pids, index = [pid], 0
    while index < len(pids):
        for path in Path(f"/proc/{pids[index]}/task").glob("*/children"):
            with suppress(OSError):
                pids += map(int, path.read_text(encoding="utf-8").split())
        index += 1
    return pids


def _peak_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    match = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def _size(directory: Path) -> int:
    """Return the bytes of the files below a directory, except vanished ones."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(parent) / name).stat().st_size
    return total
