"""The libraries of CUDA that TensorFlow loads while it runs."""

import ctypes
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

_OF_CUDA_12 = (
    "libcufft.so.11",
    "libcusolver.so.11",
    "libcusparse.so.12",
    "libnccl.so.2",
)
"""Libraries whose versions are not that of CUDA."""

DRIVER = "libcuda.so.1"

OF_STEPS = {"libnccl.so.2", "ptxas", "libdevice"}
"""What TensorFlow lists GPUs without, and training wants: NCCL, and XLA's compiler."""


def has_driver() -> bool:
    """Whether the driver's own library is where programs find it."""
    return _is_there(DRIVER, [])


def missing_libraries(
    build: Mapping[str, object], folders: Iterable[str] | None = None
) -> list[str]:
    """Return the names of the libraries and programs that are not installed.

    Args:
        build: `tf.sysconfig.get_build_info()`.
        folders: Where Python's packages are; `None` for those of this process.
    """
    packages = [
        package
        for folder in (sys.path if folders is None else folders)
        for package in Path(folder or ".").glob("nvidia/*")
    ]
    names = [name for name in _names(build) if not _is_there(name, packages)]
    if not _has_program("ptxas", packages):
        names.append("ptxas")
    if not any(map(_libdevices, (*packages, *_cuda_folders()))):
        names.append("libdevice")
    return names


def _names(build: Mapping[str, object]) -> list[str]:
    cuda = str(build.get("cuda_version", "12")).partition(".")[0]
    cudnn = str(build.get("cudnn_version", "9")).partition(".")[0]
    of_cuda = [f"lib{name}.so.{cuda}" for name in ("cudart", "cublas", "cublasLt")]
    others = _OF_CUDA_12 if cuda == "12" else ()
    return [*of_cuda, *others, f"libcudnn.so.{cudnn}"]


def _is_there(name: str, packages: Iterable[Path]) -> bool:
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
    named = [
        os.environ[name] for name in ("CUDA_DIR", "CUDA_HOME") if name in os.environ
    ]
    return [*map(Path, named), Path("/usr/local/cuda")]
