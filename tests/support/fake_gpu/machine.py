"""A machine with GPUs made of memory, for commands in processes of their own.

TensorFlow itself loads the library that `TF_PLUGGABLE_DEVICE_LIBRARY_PATH` names, in
every process that imports it: commands run unchanged, and so do their child processes.
"""

import ctypes
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.support.processes import ROOT

SOURCES = Path(__file__).parent
LIBRARIES = {"fake_gpu": ("device.cc", "kernels.cc"), "wait": ("wait.cc",)}
TRIED = ("2.17",)
"""Versions of TensorFlow for whose internals the sources are written."""

LEFT_ALONE = 255 << 20
"""Bytes of a GPU with less than two GiB that TensorFlow leaves to the driver."""


class UnavailableError(Exception):
    """Raised where there can be no fake GPU; the message has the reason."""


class _CompilerError(Exception):
    """g++ refuses the sources."""


@dataclass
class Copies:
    """Numbers of copies, and of their bytes, since the machine was made."""

    to_device: int
    bytes_to_device: int
    to_host: int
    bytes_to_host: int
    within_devices: int
    bytes_within_devices: int

    @classmethod
    def read(cls, path: Path) -> "Copies":
        """Read the counts of a machine's fake GPUs until now."""
        return cls(*np.fromfile(path, np.int64).tolist())


@dataclass
class Machine:
    """Run commands with fake GPUs, or with those of this machine.

    Args:
        libraries: Directory of the libraries, from `build`; `None` for real GPUs.
        directory: Current directory of the commands, and of the file of counts.
        num_gpus: Number of GPUs.
        memory: Bytes of each fake GPU for TensorFlow.
    """

    libraries: Path | None
    directory: Path
    num_gpus: int = 1
    memory: int = 2**30

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which a process finds the GPUs and this project."""
        variables = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "CUDA_VISIBLE_DEVICES": ",".join(map(str, range(self.num_gpus))) or "-1",
        }
        if self.libraries is None:
            return {**os.environ, **variables}
        return variables | {
            "LD_PRELOAD": str(self.libraries / "libwait.so"),
            "TF_PLUGGABLE_DEVICE_LIBRARY_PATH": str(self.libraries / "libfake_gpu.so"),
            "FAKE_GPUS": str(self.num_gpus),
            "FAKE_GPU_BYTES": str(self.memory + LEFT_ALONE),
            "FAKE_GPU_COPIES": str(self.directory / "copies"),
        }

    def start(self, command: str) -> subprocess.Popen:
        """Start a shell line, whose process is that of its only command."""
        return subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str) -> str:
        """Run a shell line, which must succeed, and return its output."""
        with self.start(command) as process:
            output, errors = process.communicate()
        assert process.returncode == 0, f"{command}: {output}{errors}"
        return output

    def copies(self) -> Copies:
        """Return the copies until now."""
        return Copies.read(self.directory / "copies")


def build(directory: Path) -> Path:
    """Build the libraries unless they exist, and return their directory.

    Raises:
        UnavailableError: If there is no compiler, or the sources do not fit a version
            of TensorFlow that is newer than they are.
    """
    if shutil.which("g++") is None:
        raise UnavailableError("g++ is not here: install it to build the fake GPU")
    finished = directory / _fingerprint()
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other processes run tests at the same time
        if not finished.is_dir():
            unfinished = directory / "unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            for name, sources in LIBRARIES.items():
                _build_library(sources, unfinished / f"lib{name}.so")
            unfinished.rename(finished)
    return finished


def _fingerprint() -> str:
    digest = hashlib.sha256(tf.__version__.encode())
    for path in sorted(SOURCES.glob("*.cc")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _build_library(sources: tuple[str, ...], library: Path) -> None:
    try:
        _compile(sources, library)
        ctypes.CDLL(str(library), os.RTLD_NOW)  # TensorFlow has what it needs
    except (_CompilerError, OSError) as error:
        if tf.__version__.startswith(TRIED):
            raise
        reason = f"no fake GPU for TensorFlow {tf.__version__}: {error}"
        raise UnavailableError(reason) from error


def _compile(sources: tuple[str, ...], library: Path) -> None:
    command = ["g++", "-O1", "-shared", "-fPIC", *sources, "-o", str(library)]
    flags = tf.sysconfig.get_compile_flags() + tf.sysconfig.get_link_flags()
    process = subprocess.run(
        [*command, *flags], cwd=SOURCES, capture_output=True, text=True, check=False
    )
    if process.returncode:
        errors = [line for line in process.stderr.splitlines() if "error" in line]
        raise _CompilerError(errors[0] if errors else process.stderr)
