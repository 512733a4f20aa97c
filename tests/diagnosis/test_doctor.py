"""The ten lines on what is installed, also where something is broken."""

import sys

import pytest
import tensorflow as tf

from tests.support.processes import ROOT, run_command_line
from tfdlrm import doctor
from tfdlrm.base import device_names
from tfdlrm.base.machine_gpus import MachineGpu, MachineGpus
from tfdlrm.diagnosis import step_kernels
from tfdlrm.diagnosis.imports import Imports, check_imports
from tfdlrm.diagnosis.step_kernels import STEP_OPERATIONS, missing_kernels
from tfdlrm.diagnosis.works import (
    PACKAGES,
    USES,
    java_problem,
    not_working,
    requirements_of,
    working,
)
from tfdlrm.doctor import main, report

BUILD = {
    "is_cuda_build": True,
    "cuda_version": "12.3",
    "cudnn_version": "8",
    "cuda_compute_capabilities": ["sm_89", "compute_90"],
}
L4 = MachineGpu("NVIDIA L4", (8, 9), "550.54", 22 * 10**9, 24 * 10**9)
LABELS = [
    *("versions", "devices", "GPUs", "CUDA", "kernels"),
    *("memory", "disk", "works", "lacks", "to do"),
]


@pytest.fixture(autouse=True)
def complete_cuda(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(doctor, "missing_libraries", lambda build: [])


def lines_of(imports, *gpus, problem=None):
    lines = report(imports, MachineGpus(gpus, problem))
    assert all("\n" not in line for line in lines)
    answers = {line[:10].rstrip(): line[10:] for line in lines}
    assert list(answers) == LABELS
    return answers


def whole_installation(**tensorflow):
    versions = dict.fromkeys(PACKAGES, "1.0") | {"tensorflow": device_names._PINNED}
    answers = {"build": BUILD, "devices": "a GPU (NVIDIA L4)", "missing_kernels": []}
    return Imports(versions, {}, answers | {"sees_gpu": True} | tensorflow)


def test_where_everything_is_there_nothing_is_to_do():
    lines = lines_of(whole_installation(), L4)
    assert ", Keras 1.0, NumPy 1.0" in lines["versions"]
    assert lines["devices"] == "a GPU (NVIDIA L4)"
    assert lines["GPUs"] == "NVIDIA L4 (compute capability 8.9, driver 550.54)"
    assert lines["CUDA"] == "CUDA 12.3, cuDNN 8: complete"
    assert lines["memory"].endswith(" free, 22.0 GB of 24.0 GB free on GPU 0")
    assert " free in " in lines["disk"]
    assert all(use.commands in lines["works"] for use in USES)
    assert (lines["lacks"], lines["to do"]) == ("nothing", "nothing")


def test_a_gpu_that_tensorflow_does_not_see_is_to_be_fixed():
    lines = lines_of(
        whole_installation(unseen="this machine has a GPU", sees_gpu=False), L4
    )
    assert lines["to do"] == "this machine has a GPU"


def test_hidden_gpus_are_nothing_to_fix(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    lines = lines_of(
        whole_installation(devices="the CPU (2 cores)", sees_gpu=False), L4
    )
    assert lines["GPUs"].endswith("; CUDA_VISIBLE_DEVICES hides them")
    assert lines["to do"] == "nothing"


def test_blackwell_needs_a_newer_tensorflow():
    card = MachineGpu("NVIDIA B200", (10, 0))
    steps = lines_of(whole_installation(), card, card)["to do"]
    assert steps.count("B200 has compute capability 10.0, newer than TensorFlow") == 1


def test_libraries_that_only_some_steps_need_are_to_be_installed(monkeypatch):
    monkeypatch.setattr(doctor, "missing_libraries", lambda build: ["ptxas"])
    lines = lines_of(whole_installation(), L4)
    assert lines["CUDA"] == "CUDA 12.3, cuDNN 8: ptxas not found"
    assert lines["to do"] == "pip install -r requirements-gpu.txt"
    lines = lines_of(whole_installation(devices="the CPU (2 cores)", sees_gpu=False))
    assert lines["CUDA"].endswith("ptxas not found (a CPU needs none)")
    assert lines["to do"] == "nothing"


def test_missing_kernels_are_named():
    lines = lines_of(whole_installation(missing_kernels=["Unique (int64)"]))
    assert lines["kernels"] == "not for GPUs: Unique (int64)"


def test_a_tensorflow_without_cuda_has_no_kernels_for_gpus():
    lines = lines_of(
        whole_installation(build={"is_cuda_build": False}, missing_kernels=["MatMul"])
    )
    assert lines["CUDA"] == "this TensorFlow is built without"
    assert lines["kernels"].startswith("none for GPUs")


def test_without_tensorflow_all_lines_are_there():
    problems = {"tensorflow": "is not installed", "keras": "is not installed"}
    lines = lines_of(Imports({"numpy": "1.26.4"}, problems), problem="no driver")
    assert (
        "TensorFlow is not installed, Keras is not installed, NumPy 1.26.4"
        in (lines["versions"])
    )
    assert lines["devices"].endswith("; no TensorFlow to use it")
    assert (lines["GPUs"], lines["CUDA"]) == ("no driver", "not known")
    assert lines["works"].startswith("pipelines.prepare, tfdlrm.plan, client")
    assert "train, export, compare" in lines["lacks"]
    assert lines["to do"] == "pip install -r requirements.txt"


def test_an_installed_package_has_no_files_of_requirements(monkeypatch, tmp_path):
    monkeypatch.setattr("tfdlrm.doctor.__file__", str(tmp_path / "tfdlrm/doctor.py"))
    lines = lines_of(Imports({}, {"keras": "is not installed"}))
    assert lines["to do"].startswith("in a clone of tfdlrm's repository: pip install")


def test_a_line_that_cannot_be_told_says_so(monkeypatch):
    def fail(path):
        raise OSError("no disk")

    monkeypatch.setattr("shutil.disk_usage", fail)
    assert lines_of(whole_installation())["disk"] == "not known (OSError: no disk)"


@pytest.mark.parametrize(
    ("package", "lacking", "requirements"),
    [
        ("onnx", "--format onnx", ["requirements-onnx.txt"]),
        ("pyspark", "--engine spark", ["requirements-spark.txt"]),
        ("tensorflow_recommenders", "TFRS models", ["requirements.txt"]),
        ("tensorflow_io", "s3:// and kafka://", []),
        ("java", "--engine spark", []),
        ("uvloop", "serve", ["requirements.txt"]),
    ],
)
def test_one_package_is_missed_by_what_needs_it(package, lacking, requirements):
    problems = {package: "is not installed"}
    assert not_working(problems) == [f"{lacking}: {package} is not installed"]
    assert lacking not in working(problems)
    assert len(working(problems)) == len(USES) - 1
    assert requirements_of(problems) == requirements


def test_a_package_that_others_stand_on_is_named_once():
    problems = dict.fromkeys(PACKAGES[1:], "is not installed")
    assert len(not_working(problems)) <= 3
    assert requirements_of(problems) == [
        "requirements-onnx.txt",
        "requirements-spark.txt",
        "requirements.txt",
    ]


def test_java_is_looked_for_where_spark_does(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert java_problem() == {"java": "is not installed"}
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").touch(mode=0o755)
    assert java_problem() == {}


def test_packages_are_imported_where_they_may_break(tmp_path, monkeypatch):
    for name, text in {
        "sound": "print('noise'); __version__ = '3.1'",
        "broken": "raise ImportError('undefined symbol: _ZN10\\nmore')",
        "leaving": "raise SystemExit",
        "dying": "import os; os.abort()",
        "half": "import nowhere_at_all",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    names = ["broken", "dying", "sound", "leaving", "absent", "half", "json"]
    imports = check_imports(names)
    assert imports.versions == {"sound": "3.1", "json": "2.0.9"}
    assert imports.problems == {
        "broken": "does not load (ImportError: undefined symbol: _ZN10)",
        "dying": "ends Python by SIGABRT",
        "leaving": "does not load (SystemExit)",
        "absent": "is not installed",
        "half": "does not load (ModuleNotFoundError: No module named 'nowhere_at_all')",
    }


def test_a_tensorflow_that_dies_of_its_devices_is_told_of(tmp_path, monkeypatch):
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text(
        "import os\nclass sysconfig:\n    get_build_info = os.abort\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    imports = check_imports(["tensorflow", "json"])
    assert imports.problems == {
        "tensorflow": "ends Python by SIGABRT when it looks for devices"
    }
    assert imports.versions["json"] == "2.0.9"


def test_this_tensorflow_has_all_kernels_of_a_step():
    assert missing_kernels() == []
    assert all(hasattr(tf.raw_ops, operation) for operation, _ in STEP_OPERATIONS)


def test_the_registry_tells_what_is_missing(monkeypatch):
    lacking = ("ResourceScatterUpdate", {"dtype": "bool", "Tindices": "int64"})
    monkeypatch.setattr(step_kernels, "STEP_OPERATIONS", (lacking,))
    assert missing_kernels() == ["ResourceScatterUpdate (bool, int64)"]
    assert missing_kernels("CPU") == []


def test_the_command_prints_ten_lines(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "check_imports", lambda packages: whole_installation())
    monkeypatch.setattr(doctor, "machine_gpus", lambda: MachineGpus((L4,)))
    monkeypatch.setattr(sys, "argv", ["doctor"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert [line[:10].rstrip() for line in lines] == LABELS


def test_the_command_takes_no_settings(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["doctor", "--colour"])
    with pytest.raises(SystemExit) as leave:
        main()
    assert leave.value.code == 2
    assert capsys.readouterr().err.startswith("error: unrecognized arguments: --colour")


def test_help_needs_no_package(tmp_path):
    for name in ("jsonargparse", "numpy", "tensorflow"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('broken')")
    process = run_command_line(
        f"PYTHONPATH={tmp_path}:$PYTHONPATH python -m tfdlrm.doctor --help"
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert "which commands will work" in " ".join(process.stdout.split())


@pytest.mark.slow
def test_the_command_works_where_packages_are_broken(tmp_path):
    for name in ("jsonargparse", "tensorflow"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('broken')")
    process = run_command_line(
        f"PYTHONPATH={tmp_path}:$PYTHONPATH python -m tfdlrm.doctor", cwd=tmp_path
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert len(process.stdout.splitlines()) == 10
    assert "tensorflow does not load (ImportError: broken)" in process.stdout
