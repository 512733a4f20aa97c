"""How much memory this machine has to give."""

import os
import shutil
import subprocess
from pathlib import Path

UNKNOWN = 1 << 62
"""Bytes of a memory whose size is not known: more than there can be."""


def available_memory() -> int:
    """Bytes that a new process can have: what is free or can be freed, on Linux.

    A container may have less than its machine.
    """
    machine = _available()
    limit, used = (
        _number(Path("/sys/fs/cgroup") / name)
        for name in ("memory.max", "memory.current")
    )
    if limit is None or used is None:
        return machine
    return min(machine, limit - used + _cache())


def _available() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, value = line.split(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    raise OSError("/proc/meminfo has no MemAvailable")


def _cache() -> int:
    """Bytes of the group's files in memory, which make room where it is needed."""
    try:
        lines = Path("/sys/fs/cgroup/memory.stat").read_text("ascii").splitlines()
    except OSError:
        return 0
    return sum(int(each.split()[1]) for each in lines if each.startswith("file "))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # ValueError: "max"
        return None


def gpu_memory() -> list[int]:
    """Bytes of each NVIDIA GPU that a process may use; nothing where there is none.

    Of one that does not tell, as those that share the machine's memory, `UNKNOWN`.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shutil.which("nvidia-smi") is None or visible in ("", "-1"):
        return []
    options = ["--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    if visible is not None:
        options.append(f"--id={visible}")
    done = subprocess.run(
        ["nvidia-smi", *options], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return []
    return [
        int(line) * 2**20 if line.strip().isdigit() else UNKNOWN
        for line in done.stdout.splitlines()
    ]
