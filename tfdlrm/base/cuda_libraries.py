"""The CUDA libraries that TensorFlow loads at run time."""

import ctypes
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

_CUDA_12_LIBRARIES = (
    "libcufft.so.11",
    "libcusolver.so.11",
    "libcusparse.so.12",
    "libnccl.so.2",
)
"""Libraries of CUDA 12 with version numbers of their own."""

DRIVER = "libcuda.so.1"

OF_STEPS = {"libnccl.so.2", "ptxas", "libdevice"}
"""Libraries without which TensorFlow lists GPUs, but training fails: NCCL and XLA's."""


def has_driver() -> bool:
    """Whether programs find the library of NVIDIA's driver."""
    return _is_installed(DRIVER, [])


def missing_libraries(
    build: Mapping[str, object], folders: Iterable[str] | None = None
) -> list[str]:
    """Return the names of the libraries and programs that are not installed.

    Args:
        build: `tf.sysconfig.get_build_info()`.
        folders: Directories of Python packages; `None` for those of this process.
    """
    packages = [
        package
        for folder in (sys.path if folders is None else folders)
        for package in Path(folder or ".").glob("nvidia/*")
    ]
    names = [name for name in _names(build) if not _is_installed(name, packages)]
    if not _has_program("ptxas", packages):
        names.append("ptxas")
    if not any(map(_libdevices, (*packages, *_cuda_folders()))):
        names.append("libdevice")
    return names


def _names(build: Mapping[str, object]) -> list[str]:
    cuda = str(build.get("cuda_version", "12")).partition(".")[0]
    cudnn = str(build.get("cudnn_version", "9")).partition(".")[0]
    libraries = [f"lib{name}.so.{cuda}" for name in ("cudart", "cublas", "cublasLt")]
    more = _CUDA_12_LIBRARIES if cuda == "12" else ()
    return [*libraries, *more, f"libcudnn.so.{cudnn}"]


def _is_installed(name: str, packages: Iterable[Path]) -> bool:
    if any((package / "lib" / name).exists() for package in packages):
        return True
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _has_program(name: str, packages: Iterable[Path]) -> bool:
    folders = [str(folder / "bin") for folder in (*packages, *_cuda_folders())]
    path = os.pathsep.join([os.environ.get("PATH", ""), *folders])
    return shutil.which(name, path=path) is not None


def _libdevices(folder: Path) -> list[Path]:
    return list(folder.glob("nvvm/libdevice/libdevice*.bc"))


def _cuda_folders() -> list[Path]:
    folders = [
        os.environ[name] for name in ("CUDA_DIR", "CUDA_HOME") if name in os.environ
    ]
    return [*map(Path, folders), Path("/usr/local/cuda")]
