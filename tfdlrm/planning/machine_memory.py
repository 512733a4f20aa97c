"""The memory of this machine that is free."""

import os
import shutil
import subprocess
from pathlib import Path

UNKNOWN = 1 << 62
"""Bytes of a memory of unknown size: more than there can be."""


def available_memory() -> int:
    """Return the bytes that a new process can have, free or freeable, on Linux.

    A container may have less than its machine.
    """
    machine = _available()
    limit, usage = (
        _number(Path("/sys/fs/cgroup") / name)
        for name in ("memory.max", "memory.current")
    )
    if limit is None or usage is None:
        return machine
    return min(machine, limit - usage + _cache())


def _available() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, value = line.split(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    raise OSError("/proc/meminfo has no MemAvailable")


def _cache() -> int:
    """Return the bytes of the group's cached files, which can be freed."""
    try:
        lines = Path("/sys/fs/cgroup/memory.stat").read_text("ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("file "))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # ValueError: "max"
        return None


def gpu_memory() -> list[int]:
    """Return the free bytes of each NVIDIA GPU that a process may use.

    There are none without NVIDIA's driver. A GPU that does not report it, such as one
    that shares the machine's memory, counts as `UNKNOWN`.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shutil.which("nvidia-smi") is None or visible in ("", "-1"):
        return []
    options = ["--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    if visible is not None:
        options.append(f"--id={visible}")
    process = subprocess.run(
        ["nvidia-smi", *options], capture_output=True, text=True, check=False
    )
    if process.returncode:
        return []
    return [
        int(line) * 2**20 if line.strip().isdigit() else UNKNOWN
        for line in process.stdout.splitlines()
    ]


def available_on_gpu(free: int) -> int:
    """Return how many of a GPU's free bytes TensorFlow uses.

    It leaves the rest to the driver and to libraries: 1.5 GiB where the compute
    capability is 8 or more, and less on older GPUs, which is not asked for here
    (`MinSystemMemory` of TensorFlow's `gpu_device.cc`).

    Example:

    >>> available_on_gpu(16 * 2**30) / 2**30
    14.5
    """
    if free == UNKNOWN:
        return free
    return free - (225 * 2**20 if free < 2**31 else 1536 * 2**20)
