"""Commands name the devices they compute on, and the reasons why they have no GPU."""

import re
import subprocess
import sys
from contextlib import contextmanager
from unittest import mock

import pytest
import tensorflow as tf

from tests.support.processes import ROOT
from tfdlrm.base import cuda_libraries, device_names
from tfdlrm.base.cuda_libraries import missing_libraries
from tfdlrm.base.device_names import (
    announce,
    computing_devices,
    holding_device,
    too_new,
)
from tfdlrm.base.machine_gpus import MachineGpu, MachineGpus, machine_gpus

CUDA = {
    "is_cuda_build": True,
    "cuda_version": "12.3",
    "cudnn_version": "8",
    "cuda_compute_capabilities": ["sm_60", "sm_70", "sm_80", "sm_89", "compute_90"],
}
VERSION = device_names._PINNED

LIBRARIES = [
    "libcudart.so.12",
    "libcublas.so.12",
    "libcublasLt.so.12",
    "libcufft.so.11",
    "libcusolver.so.11",
    "libcusparse.so.12",
    "libnccl.so.2",
    "libcudnn.so.8",
]


@pytest.fixture(autouse=True)
def nothing_but(monkeypatch, tmp_path):
    """Hide no GPU, and let no other program be found."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def nvidia_smi(tmp_path):
    """Write a stub that answers with these lines, a status and an error."""

    def write(*lines, status=0, error=""):
        script = ["#!/bin/sh", *(f"echo '{line}'" for line in lines)]
        script += [f"echo '{error}' >&2"] * bool(error) + [f"exit {status}"]
        (tmp_path / "nvidia-smi").write_text("\n".join(script))
        (tmp_path / "nvidia-smi").chmod(0o755)

    return write


@contextmanager
def list_gpus(*names, capability=(8, 9)):
    """Let TensorFlow list GPUs of these names."""
    list_devices = tf.config.list_physical_devices
    gpus = [
        tf.config.PhysicalDevice(f"/physical_device:GPU:{i}", "GPU")
        for i in range(len(names))
    ]

    def details(gpu):
        name = names[gpus.index(gpu)]
        return {"device_name": name, "compute_capability": capability} if name else {}

    with (
        mock.patch(
            "tensorflow.config.list_physical_devices",
            lambda kind=None: gpus if kind == "GPU" else list_devices(kind),
        ),
        mock.patch("tensorflow.config.experimental.get_device_details", details),
    ):
        yield


def install(folder, *names):
    """Write NVIDIA's packages with these libraries, as pip installs them."""
    for name in names:
        path = folder / "nvidia" / name.partition(".")[0] / "lib" / name
        path.parent.mkdir(parents=True)
        path.touch()
    nvcc = folder / "nvidia" / "cuda_nvcc"
    (nvcc / "bin").mkdir(parents=True)
    (nvcc / "bin" / "ptxas").touch(mode=0o755)
    (nvcc / "nvvm" / "libdevice").mkdir(parents=True)
    (nvcc / "nvvm" / "libdevice" / "libdevice.10.bc").touch()


def test_without_a_gpu_the_cores_are_named(capsys, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 3})
    announce()
    output = capsys.readouterr()
    assert (output.out, output.err) == ("Computing on the CPU (2 cores)\n", "")


def test_gpus_are_named(capsys):
    with list_gpus("NVIDIA L4"):
        announce()
        announce("mirrored")
    output = capsys.readouterr()
    assert output.out == "Computing on a GPU (NVIDIA L4)\n" * 2
    assert output.err == ""


def test_a_training_is_warned_of_a_gpu_newer_than_tensorflow(capsys, monkeypatch):
    monkeypatch.setattr("tensorflow.sysconfig.get_build_info", lambda: CUDA)
    with list_gpus("NVIDIA GeForce RTX 5090", capability=(12, 0)):
        announce()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: NVIDIA GeForce RTX 5090 has compute capability 12")


def test_of_several_gpus_the_default_strategy_takes_one():
    with list_gpus("NVIDIA L4", "NVIDIA L4"):
        assert computing_devices("mirrored") == "2 GPUs (NVIDIA L4)"
        assert computing_devices("default").startswith("one of 2 GPUs (NVIDIA L4)")


def test_a_gpu_without_a_name_has_its_number():
    with list_gpus(None):
        assert computing_devices() == "a GPU (GPU:0)"


def test_scores_are_on_the_device_that_holds_them():
    assert holding_device(tf.zeros(1)) == device_names.cpu()
    held = mock.Mock(device="/job:localhost/replica:0/task:0/device:GPU:0")
    with list_gpus("NVIDIA L4"):
        assert holding_device(tf.Variable(1.0)) == device_names.cpu()
        assert holding_device(tf.zeros(1), held) == "a GPU (NVIDIA L4)"


def test_a_gpu_that_tensorflow_does_not_see_is_told_of(nvidia_smi, capsys):
    nvidia_smi("NVIDIA L4, 8.9, 550.54.15, 22000, 23034")
    announce()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "warning: this machine has a GPU (NVIDIA L4) that TensorFlow does not see: "
    )
    assert line.endswith(device_names.install_command(tf.__version__))


@pytest.mark.parametrize("value", ["", "-1"])
def test_hidden_gpus_are_not_missed(value, nvidia_smi, monkeypatch, capsys):
    nvidia_smi("NVIDIA L4, 8.9, 550.54.15, 22000, 23034")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    announce()
    assert capsys.readouterr().err == ""


def test_gpus_that_tensorflow_sees_are_not_looked_for(nvidia_smi, capsys):
    nvidia_smi("NVIDIA L4, 8.9, 550.54.15, 22000, 23034")
    with list_gpus("NVIDIA L4"):
        announce()
    assert capsys.readouterr().err == ""


def why(machine=None, build=CUDA):
    gpu = MachineGpu("NVIDIA L4")
    return device_names.why_unseen(machine or MachineGpus((gpu,)), build, VERSION)


def test_missing_libraries_are_the_reason(monkeypatch):
    monkeypatch.setattr(
        device_names, "missing_libraries", lambda build: ["libcudnn.so.8"]
    )
    assert why() == "libcudnn.so.8 not found; pip install -r requirements-gpu.txt"


def test_the_fix_leaves_the_version_of_tensorflow(monkeypatch):
    monkeypatch.setattr(device_names, "missing_libraries", lambda build: ["lib"])
    gpus = MachineGpus((MachineGpu("NVIDIA L4"),))
    reason = device_names.why_unseen(gpus, CUDA, "2.30.0")
    assert reason == 'lib not found; pip install "tensorflow[and-cuda]==2.30.0"'
    text = (ROOT / "requirements-gpu.txt").read_text()
    older, newer = re.findall(r"^tensorflow\[and-cuda\]==([^;]+); python", text, re.M)
    pinned = older if sys.version_info < (3, 13) else newer
    assert device_names.install_command(pinned).endswith("-r requirements-gpu.txt")


def test_the_driver_is_the_reason_where_it_does_not_answer(monkeypatch):
    broken = MachineGpus((MachineGpu("NVIDIA"),), "nvidia-smi says: no driver")
    assert why(broken).startswith("its driver does not answer (nvidia-smi says: no")
    monkeypatch.setattr(device_names, "missing_libraries", lambda build: [])
    monkeypatch.setattr(device_names, "has_driver", lambda: False)
    assert why().startswith("libcuda.so.1 not found; install NVIDIA's driver")


def test_a_tensorflow_without_cuda_is_the_reason():
    assert why(build={"is_cuda_build": False}).startswith(
        f"TensorFlow {VERSION} is built without CUDA; pip install"
    )


def test_a_number_that_names_no_gpu_is_the_reason(monkeypatch):
    monkeypatch.setattr(device_names, "missing_libraries", lambda build: [])
    monkeypatch.setattr(device_names, "has_driver", lambda: True)
    assert why() == "TF_CPP_MIN_LOG_LEVEL=0 before the command shows why"
    # Without these TensorFlow lists a GPU all the same.
    monkeypatch.setattr(device_names, "missing_libraries", lambda build: ["ptxas"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert why().startswith("CUDA_VISIBLE_DEVICES is '7', which names none of them;")


def test_the_driver_describes_its_gpus(nvidia_smi):
    nvidia_smi("NVIDIA L4, 8.9, 550.54.15, 22000, 23034", "GB10, 12.1, 580.1, [N/A], x")
    assert machine_gpus() == MachineGpus(
        (
            MachineGpu("NVIDIA L4", (8, 9), "550.54.15", 22000 << 20, 23034 << 20),
            MachineGpu("GB10", (12, 1), "580.1"),
        )
    )


def test_an_old_driver_tells_the_names_alone(tmp_path):
    stub = tmp_path / "nvidia-smi"
    stub.write_text('#!/bin/sh\n[ "$1" = --query-gpu=name ] || exit 2\necho Tesla P4\n')
    stub.chmod(0o755)
    assert machine_gpus() == MachineGpus((MachineGpu("Tesla P4"),))


def test_a_driver_that_fails_and_a_machine_without_gpus(nvidia_smi, tmp_path):
    nvidia_smi(status=9, error="NVIDIA-SMI has failed")
    failed = machine_gpus(tmp_path)
    assert failed == MachineGpus((), "nvidia-smi says: NVIDIA-SMI has failed")
    nvidia_smi("No devices were found")
    assert machine_gpus(tmp_path) == MachineGpus()
    (tmp_path / "nvidia-smi").write_text("no program")
    assert machine_gpus(tmp_path).problem == "nvidia-smi cannot be run: OSError"


def test_a_driver_that_hangs_is_asked_once(nvidia_smi, tmp_path, monkeypatch):
    nvidia_smi()
    late = subprocess.TimeoutExpired("nvidia-smi", 30)
    run = mock.Mock(side_effect=late)
    monkeypatch.setattr("subprocess.run", run)
    assert machine_gpus(tmp_path).problem == "nvidia-smi cannot be run: TimeoutExpired"
    assert run.call_count == 1


def test_without_nvidia_smi_the_files_of_the_driver_tell(tmp_path):
    assert machine_gpus(tmp_path) == MachineGpus()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev").mkdir(exist_ok=True)
        (tmp_path / "dev" / name).touch()
    assert machine_gpus(tmp_path).names == "2 GPUs (NVIDIA)"
    listing = tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0"
    listing.mkdir(parents=True)
    (listing / "information").write_text("Model: \t\t NVIDIA A100\nIRQ: 7\n")
    assert machine_gpus(tmp_path).names == "a GPU (NVIDIA A100)"


def test_libraries_are_found_where_pip_puts_them(tmp_path, monkeypatch):
    monkeypatch.setattr(cuda_libraries, "_cuda_folders", lambda: [])
    empty = missing_libraries(CUDA, [str(tmp_path)])
    assert empty == [*LIBRARIES, "ptxas", "libdevice"]
    install(tmp_path, *LIBRARIES[:-1])
    assert missing_libraries(CUDA, [str(tmp_path)]) == ["libcudnn.so.8"]


def test_a_library_that_the_system_knows_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: name)
    assert missing_libraries(CUDA, [str(tmp_path)])[:1] != LIBRARIES[:1]


def test_a_gpu_newer_than_tensorflow_is_named():
    blackwell = MachineGpu("NVIDIA GeForce RTX 5090", (12, 0))
    reason = too_new(blackwell, CUDA, "2.17.1")
    assert reason.startswith(
        "NVIDIA GeForce RTX 5090 has compute capability 12.0, newer"
    )
    assert "a newer TensorFlow" in reason
    for capability in ((9, 0), (8, 9), None):
        assert too_new(MachineGpu("NVIDIA", capability), CUDA, "2.17.1") is None
    newer = {"cuda_compute_capabilities": ["sm_90a", "compute_120"]}
    assert too_new(blackwell, newer, "2.30.0") is None
    assert too_new(blackwell, {}, "2.17.1") is None
