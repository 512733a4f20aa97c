"""`python -m tfdlrm.doctor`: what is installed here, and which commands will work.

Nothing is imported at the top that could be missing.
"""

import argparse
import os
import platform
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from tfdlrm.base.cuda_libraries import missing_libraries
from tfdlrm.base.device_names import cpu, hides_gpus, install_command, too_new
from tfdlrm.base.machine_gpus import MachineGpu, MachineGpus, machine_gpus
from tfdlrm.base.version import __version__
from tfdlrm.diagnosis.imports import Imports, check_imports
from tfdlrm.diagnosis.works import (
    PACKAGES,
    java_problem,
    not_working,
    requirements_of,
    working,
)


def report(imports: Imports, machine: MachineGpus) -> list[str]:
    """Return the ten lines of the report.

    Args:
        imports: Results of importing the packages.
        machine: The GPUs that the driver reports.
    """
    problems = imports.problems
    lines: dict[str, Callable[[], str]] = {
        "versions": lambda: _versions(imports),
        "devices": lambda: _devices(imports),
        "GPUs": lambda: _gpus(machine),
        "CUDA": lambda: _cuda(imports.tensorflow, machine),
        "kernels": lambda: _kernels(imports.tensorflow),
        "memory": lambda: _memory(machine),
        "disk": _disk,
        "works": lambda: ", ".join(working(problems)) or "nothing",
        "lacks": lambda: "; ".join(not_working(problems)) or "nothing",
        "to do": lambda: "; ".join(_to_do(imports, machine)) or "nothing",
    }
    return [f"{name:<10}{_answer(ask)}" for name, ask in lines.items()]


def _answer(ask: Callable[[], str]) -> str:
    """Return an answer on one line, even if the query fails on this machine."""
    try:
        return " ".join(ask().split())
    except Exception as error:  # whatever is broken here, the other lines help
        return f"not known ({type(error).__name__}: {error})"


def _versions(imports: Imports) -> str:
    versions = [f"tfdlrm {__version__}", f"Python {platform.python_version()}"]
    for name, module in {
        "TensorFlow": "tensorflow",
        "Keras": "keras",
        "NumPy": "numpy",
    }.items():
        version = imports.versions.get(module)
        versions.append(f"{name} {version or imports.problems.get(module, 'unknown')}")
    return ", ".join(versions)


def _devices(imports: Imports) -> str:
    return str(imports.tensorflow.get("devices", f"{cpu()}; no TensorFlow to use it"))


def _gpus(machine: MachineGpus) -> str:
    if not machine.gpus:
        return machine.problem or "none"
    hidden = "; CUDA_VISIBLE_DEVICES hides them" if hides_gpus() else ""
    return ", ".join(map(_describe, machine.gpus)) + hidden


def _describe(gpu: MachineGpu) -> str:
    facts = []
    if gpu.capability:
        facts.append("compute capability {}.{}".format(*gpu.capability))
    if gpu.driver:
        facts.append(f"driver {gpu.driver}")
    return f"{gpu.name} ({', '.join(facts)})" if facts else gpu.name


def _cuda(tensorflow: Mapping[str, Any], machine: MachineGpus) -> str:
    build = tensorflow.get("build", {})
    if not build.get("is_cuda_build"):
        return "this TensorFlow is built without" if build else "not known"
    name = f"CUDA {build.get('cuda_version')}, cuDNN {build.get('cudnn_version')}"
    missing = missing_libraries(build)
    if not missing:
        return f"{name}: complete"
    excuse = "" if machine.gpus else " (a CPU needs none)"
    return f"{name}: {', '.join(missing)} not found{excuse}"


def _kernels(tensorflow: Mapping[str, Any]) -> str:
    missing = tensorflow.get("missing_kernels")
    if missing is None:
        return "not known"
    if not tensorflow.get("build", {}).get("is_cuda_build"):
        return "none for GPUs: this TensorFlow is built without CUDA"
    if missing:
        return f"not for GPUs: {', '.join(missing)}"
    return "a training step has all of its kernels for GPUs"


def _memory(machine: MachineGpus) -> str:
    from tfdlrm.base.byte_size import format_byte_size
    from tfdlrm.planning.machine_memory import available_memory

    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = available_memory()
    parts = [f"{format_byte_size(free)} of {format_byte_size(total)} free"]
    for number, gpu in enumerate(machine.gpus):
        if gpu.free is not None and gpu.total is not None:
            sizes = format_byte_size(gpu.free), format_byte_size(gpu.total)
            parts.append(f"{sizes[0]} of {sizes[1]} free on GPU {number}")
    return ", ".join(parts)


def _disk() -> str:
    from tfdlrm.base.byte_size import format_byte_size

    usage = shutil.disk_usage(Path.cwd())
    free, total = format_byte_size(usage.free), format_byte_size(usage.total)
    return f"{free} of {total} free in {Path.cwd()}"


def _to_do(imports: Imports, machine: MachineGpus) -> list[str]:
    """Return the fixes; those for a GPU are first."""
    tensorflow = imports.tensorflow
    build = tensorflow.get("build", {})
    version = imports.versions.get("tensorflow", "")
    steps = []
    if machine.gpus and not hides_gpus():
        if tensorflow.get("unseen"):
            steps.append(str(tensorflow["unseen"]))
        elif tensorflow.get("sees_gpu") and missing_libraries(build):
            steps.append(install_command(version))
        newer = {too_new(gpu, build, version) for gpu in machine.gpus}
        steps += sorted(filter(None, newer))
    files = " -r ".join(requirements_of(imports.problems))
    where = "" if _is_clone() else "in a clone of tfdlrm's repository: "
    return [*steps, f"{where}pip install -r {files}"] if files else steps


def _is_clone() -> bool:
    """Return whether the files of requirements are next to the package."""
    return (Path(__file__).parents[1] / "requirements.txt").is_file()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (--help lists what there is)\n")


def main() -> None:
    _Parser(
        prog="python -m tfdlrm.doctor",
        description="Print what is installed here, what TensorFlow computes on, and "
        "which commands will work.",
    ).parse_args()
    imports = check_imports(PACKAGES)
    imports.problems |= java_problem()
    for line in report(imports, machine_gpus()):
        print(line)


if __name__ == "__main__":
    try:
        from tfdlrm.base.command_line import run_command
    except Exception:  # a package is missing or broken, which the report names
        main()
    else:
        run_command(main)
