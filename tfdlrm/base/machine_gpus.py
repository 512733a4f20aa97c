"""The NVIDIA GPUs of this machine as its driver lists them, without TensorFlow."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 30
"""The longest wait for nvidia-smi, which hangs where a driver does."""

_REFUSAL = "nvidia-smi says:"

_FIELDS = "name,compute_cap,driver_version,memory.free,memory.total"


@dataclass(frozen=True)
class MachineGpu:
    """A GPU; `None` for what its driver does not report.

    Args:
        name: Its product name.
        capability: CUDA's compute capability, such as (8, 9).
        driver: Version of the driver.
        free: Bytes of its memory that no process uses.
        total: Bytes of its memory.
    """

    name: str
    capability: tuple[int, int] | None = None
    driver: str | None = None
    free: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class MachineGpus:
    """The GPUs, and whether their driver answers.

    Args:
        gpus: All GPUs of the machine, whether a process may use them or not.
        problem: Why the driver does not answer, or `None`.
    """

    gpus: tuple[MachineGpu, ...] = ()
    problem: str | None = None

    @property
    def names(self) -> str:
        """The GPUs in words, such as `2 GPUs (NVIDIA L4)`."""
        return describe_gpus([gpu.name for gpu in self.gpus])


def describe_gpus(names: list[str]) -> str:
    """Return the number of GPUs and their names.

    Example:

    >>> describe_gpus(["NVIDIA L4", "NVIDIA L4"])
    '2 GPUs (NVIDIA L4)'
    """
    number = "a GPU" if len(names) == 1 else f"{len(names)} GPUs"
    return f"{number} ({', '.join(dict.fromkeys(names))})"


def machine_gpus(root: Path = Path("/")) -> MachineGpus:
    """Ask nvidia-smi, or look for the driver's files.

    Args:
        root: The root of the file system.
    """
    problem = None
    if shutil.which("nvidia-smi"):
        lines, problem = _ask(_FIELDS)
        if problem and problem.startswith(_REFUSAL):
            lines, _ = _ask("name")  # an old driver does not know all fields
        if lines:
            return MachineGpus(tuple(map(_parse, lines)))
    return MachineGpus(tuple(_gpus_of_files(root)), problem)


def _ask(fields: str) -> tuple[list[str], str | None]:
    """Return the lines that nvidia-smi prints, and its problem if it has one."""
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        process = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return [], f"nvidia-smi cannot be run: {type(error).__name__}"
    if process.returncode:
        messages = (process.stderr.strip() or process.stdout.strip()).splitlines()
        reason = messages[0] if messages else f"status {process.returncode}"
        return [], f"{_REFUSAL} {reason}"
    lines = [line for line in process.stdout.splitlines() if line.strip()]
    return [line for line in lines if line != "No devices were found"], None


def _parse(line: str) -> MachineGpu:
    name, *fields = (text.strip() for text in line.split(","))
    capability, driver, free, total = [*fields, "", "", "", ""][:4]
    version = re.fullmatch(r"(\d+)\.(\d+)", capability)
    return MachineGpu(
        name,
        (int(version[1]), int(version[2])) if version else None,
        driver if driver[:1].isdigit() else None,
        int(free) * 2**20 if free.isdigit() else None,
        int(total) * 2**20 if total.isdigit() else None,
    )


def _gpus_of_files(root: Path) -> Iterator[MachineGpu]:
    """Yield the GPUs that the kernel module lists, or else those of device files."""
    information = sorted(root.glob("proc/driver/nvidia/gpus/*/information"))
    devices = [path for path in root.glob("dev/nvidia*") if path.name[6:].isdigit()]
    for path in information or devices:
        yield MachineGpu(_model(path) if information else "NVIDIA")


def _model(path: Path) -> str:
    try:
        model = re.search(r"^Model:\s*(.+)$", path.read_text("utf-8"), re.MULTILINE)
    except (OSError, ValueError):
        model = None
    return model[1].strip() if model else "NVIDIA"
