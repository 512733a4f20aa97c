"""The machine that measures, and the memory of this process. For Linux."""

import os
import re
from importlib import metadata
from pathlib import Path

BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


def describe() -> str:
    """Return a paragraph on the processor, cores, load and the versions compared."""
    model_name = re.search(
        r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE
    )
    versions = ", ".join(
        f"{name} {_version(name)}"
        for name in ("tensorflow", "keras", "tensorflow-recommenders", "torch")
    )
    return (
        f"{model_name[1] if model_name else 'unknown processor'}, "
        f"{len(os.sched_getaffinity(0))} cores, "
        f"load average {os.getloadavg()[0]:.1f} at the start; {versions}"
    )


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 matrices by instructions of its own."""
    flags = re.search(r"^flags\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    return bool(flags and BFLOAT16_FLAGS & set(flags[1].split()))


def peak_memory_gb() -> float:
    """Return the peak resident memory of this process.

    `getrusage` has it too, but starts it from the size of the parent process.
    """
    return _memory_gb("VmHWM")


def memory_gb() -> float:
    """Return the resident memory of this process."""
    return _memory_gb("VmRSS")


def _memory_gb(name: str) -> float:
    match = re.search(
        rf"^{name}:\s*(\d+) kB$", _read("/proc/self/status"), re.MULTILINE
    )
    return int(match[1]) * 1024 / 1e9 if match else float("nan")


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
