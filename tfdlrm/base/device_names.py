"""The devices that TensorFlow computes on, in words, and the GPUs that it misses."""

import os
import sys
from typing import Any

from tfdlrm.base.cuda_libraries import DRIVER, OF_STEPS, has_driver, missing_libraries
from tfdlrm.base.machine_gpus import (
    MachineGpu,
    MachineGpus,
    describe_gpus,
    machine_gpus,
)
from tfdlrm.base.plain_text import visible

VISIBLE = "CUDA_VISIBLE_DEVICES"


_PINNED = "2.17.1" if sys.version_info < (3, 13) else "2.21.0"
"""TensorFlow's version in requirements-gpu.txt, for this Python."""

_DRIVER = (
    "install NVIDIA's driver, or start the container with the machine's GPUs, such as "
    "by docker run --gpus all"
)


def install_command(version: str) -> str:
    """Return the command that installs the CUDA libraries.

    Args:
        version: The version of TensorFlow, which the command does not change.
    """
    if version in ("", _PINNED):
        return "pip install -r requirements-gpu.txt"
    return f'pip install "tensorflow[and-cuda]=={version}"'


def announce(strategy: str = "default") -> None:
    """Print the devices that a training computes on, and a warning about unused GPUs.

    Args:
        strategy: As `TrainConfig.strategy` has it.
    """
    print(f"Computing on {computing_devices(strategy)}")
    for warning in filter(None, (unseen_gpus(), _too_new_gpu())):
        print(f"warning: {warning}", file=sys.stderr)


def computing_devices(strategy: str = "default") -> str:
    """Name the devices that a process computes on.

    Args:
        strategy: As `TrainConfig.strategy` has it; `default` takes one GPU.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return cpu()
    names = [_name(tf, gpu) for gpu in gpus]
    if strategy != "default" or len(gpus) == 1:
        return describe_gpus(names)
    return f"one of {describe_gpus(names)}; --strategy mirrored takes all"


def holding_device(*tensors: Any) -> str:
    """Name the device that tensors or variables of TensorFlow lie on."""
    import tensorflow as tf

    if not any("GPU" in tensor.device for tensor in tensors):
        return cpu()
    return describe_gpus([_name(tf, tf.config.list_physical_devices("GPU")[0])])


def cpu() -> str:
    """Describe the CPU by the cores that this process may use."""
    number = len(os.sched_getaffinity(0))
    return f"the CPU ({number} core{'s' if number > 1 else ''})"


def _name(tf: Any, gpu: Any) -> str:
    number = str(gpu.name).removeprefix("/physical_device:")
    return str(_details(tf, gpu).get("device_name", number))


def _details(tf: Any, gpu: Any) -> dict[str, Any]:
    try:
        return tf.config.experimental.get_device_details(gpu)
    except (ValueError, RuntimeError, tf.errors.OpError):
        return {}


def hides_gpus() -> bool:
    """Whether `CUDA_VISIBLE_DEVICES` asks for no GPU."""
    return os.environ.get(VISIBLE) in ("", "-1")


def unseen_gpus() -> str | None:
    """Return why TensorFlow does not see the machine's GPUs, and how to fix it.

    Returns:
        One line; `None` if TensorFlow sees some, the machine has none, or the
        environment hides them.
    """
    import tensorflow as tf

    if hides_gpus() or tf.config.list_physical_devices("GPU"):
        return None
    machine = machine_gpus()
    if not machine.gpus:
        return None
    reason = why_unseen(machine, dict(tf.sysconfig.get_build_info()), tf.__version__)
    return visible(
        f"this machine has {machine.names} that TensorFlow does not see: {reason}"
    )


def why_unseen(machine: MachineGpus, build: dict[str, Any], version: str) -> str:
    """Return why TensorFlow does not see some GPUs, and the fix.

    Args:
        machine: The GPUs.
        build: `tf.sysconfig.get_build_info()`.
        version: The version of TensorFlow.
    """
    install = install_command(version)
    if not build.get("is_cuda_build"):
        return f"TensorFlow {version} is built without CUDA; {install}"
    if machine.problem:
        return f"its driver does not answer ({machine.problem}); {_DRIVER}"
    missing = missing_libraries(build)
    if set(missing) - OF_STEPS:
        return f"{', '.join(missing)} not found; {install}"
    if not has_driver():
        return f"{DRIVER} not found; {_DRIVER}"
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        return (
            f"{VISIBLE} is {visible!r}, which names none of them; name some, such as "
            f"{VISIBLE}=0, or unset it"
        )
    return "TF_CPP_MIN_LOG_LEVEL=0 before the command shows why"


def _too_new_gpu() -> str | None:
    """Return a warning if TensorFlow is older than a GPU that it sees."""
    import tensorflow as tf

    build = dict(tf.sysconfig.get_build_info())
    for gpu in tf.config.list_physical_devices("GPU"):
        capability = _details(tf, gpu).get("compute_capability")
        warning = too_new(MachineGpu(_name(tf, gpu), capability), build, tf.__version__)
        if warning:
            return visible(warning)
    return None


def too_new(gpu: MachineGpu, build: dict[str, Any], version: str) -> str | None:
    """Return a warning if TensorFlow was built before a GPU's architecture.

    Args:
        gpu: The GPU.
        build: `tf.sysconfig.get_build_info()`.
        version: The version of TensorFlow.
    """
    built_for = [str(name) for name in build.get("cuda_compute_capabilities", [])]
    numbers = [name.rpartition("_")[2].rstrip("af") for name in built_for]
    newest = max((int(number) for number in numbers if number.isdigit()), default=None)
    if gpu.capability is None or newest is None or gpu.capability[0] <= newest // 10:
        return None
    major, minor = gpu.capability
    return (
        f"{gpu.name} has compute capability {major}.{minor}, newer than TensorFlow "
        f"{version} is built for ({', '.join(built_for)}): it needs a newer "
        "TensorFlow, see docs/gpu.md"
    )
