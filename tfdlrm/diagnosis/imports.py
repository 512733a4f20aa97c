"""Imports packages on trial, in a separate process that may die of it."""

import importlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tfdlrm.base.errors import InputError

_SECONDS = 300
"""The longest wait for all imports; a busy machine needs some time."""

_PROGRAM = (
    "import sys; from tfdlrm.diagnosis.imports import report; report(sys.argv[1:])"
)


@dataclass
class Imports:
    """Results of importing packages.

    Args:
        versions: Versions of the packages that can be imported, `?` if unknown.
        problems: For each other package, the reason in words.
        tensorflow: Facts from TensorFlow about itself and this machine.
    """

    versions: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    tensorflow: dict[str, Any] = field(default_factory=dict)


def check_imports(names: Sequence[str], seconds: float = _SECONDS) -> Imports:
    """Import packages one after the other.

    Args:
        names: Names as in `import`.
        seconds: The longest wait.
    """
    imports = Imports()
    pending = list(names)
    while pending:
        messages, ending = _run(pending, seconds)
        for message in messages:
            imports.versions |= message.get("versions", {})
            imports.problems |= message.get("problems", {})
            imports.tensorflow |= message.get("tensorflow", {})
        results = {*imports.versions, *imports.problems}
        pending = [name for name in pending if name not in results]
        if messages and "asks" in messages[-1]:
            imports.problems["tensorflow"] = f"{ending} when it looks for devices"
        elif pending:  # the process died while importing the first of these
            imports.problems[pending.pop(0)] = ending
    return imports


def _run(names: Sequence[str], seconds: float) -> tuple[list[dict[str, Any]], str]:
    """Return what a process writes about the packages, and how it ended."""
    try:
        process = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *names],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
            # TensorFlow Recommenders needs Keras 2, which leaves Keras 3 as it is.
            env={"TF_USE_LEGACY_KERAS": "1", **os.environ},
        )
        output, ending = process.stdout, _ending(process.returncode)
    except subprocess.TimeoutExpired as error:
        output, ending = error.stdout or b"", f"is not imported within {seconds:g} s"
    lines = output.decode(errors="replace").split("\n")[:-1]
    return [json.loads(line) for line in lines], ending


def _ending(status: int) -> str:
    if status >= 0:
        return f"ends Python with status {status}"
    try:
        return f"ends Python by {signal.Signals(-status).name}"
    except ValueError:
        return f"ends Python by signal {-status}"


def report(names: Sequence[str]) -> None:
    """Import packages and write the result of each to standard output, as JSON."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # for what packages print themselves
    for name in names:
        try:
            message: dict[str, Any] = {"versions": {name: _import(name)}}
        except BaseException as error:  # a broken package may raise anything
            message = {"problems": {name: _problem(name, error)}}
        print(json.dumps(message), file=output, flush=True)
        if name == "tensorflow" and "versions" in message:
            print(json.dumps({"asks": name}), file=output, flush=True)
            print(
                json.dumps({"tensorflow": _ask_tensorflow()}), file=output, flush=True
            )
    os._exit(0)  # tensorflow-io aborts an orderly exit


def _import(name: str) -> str:
    if name == "tensorflow_io":
        from tfdlrm.base.remote_path import load_tensorflow_io

        load_tensorflow_io("a path of s3:// or kafka://", "s3")
    module = importlib.import_module(name)
    version = getattr(module, "__version__", None)
    if version is None:
        try:
            version = importlib.metadata.version(name.partition(".")[0])
        except importlib.metadata.PackageNotFoundError:
            version = "?"
    return str(version)


def _problem(name: str, error: BaseException) -> str:
    is_missing = isinstance(error, ModuleNotFoundError) and error.name in (
        name,
        name.partition(".")[0],
    )
    if is_missing:
        return "is not installed"
    lines = str(error).strip().splitlines()
    if isinstance(error, InputError):
        return f"does not load: {lines[0]}"
    reason = f": {lines[0][:200]}" if lines else ""
    return f"does not load ({type(error).__name__}{reason})"


def _ask_tensorflow() -> dict[str, Any]:
    """Return facts that only TensorFlow knows, without those whose query fails."""
    import tensorflow as tf

    from tfdlrm.base.device_names import computing_devices, unseen_gpus
    from tfdlrm.diagnosis.step_kernels import missing_kernels

    answers: dict[str, Any] = {}
    for name, ask in {
        "build": lambda: dict(tf.sysconfig.get_build_info()),
        "devices": lambda: computing_devices("mirrored"),
        "sees_gpu": lambda: bool(tf.config.list_physical_devices("GPU")),
        "unseen": unseen_gpus,
        "missing_kernels": missing_kernels,
    }.items():
        try:
            answers[name] = ask()
        except Exception:  # whatever is broken, the other facts help
            continue
    return answers
