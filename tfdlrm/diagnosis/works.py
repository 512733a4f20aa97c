"""The commands that work with the packages that are installed."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_EVERYWHERE = (
    "docstring_parser",
    "farmhash",
    "google_crc32c",
    "jsonargparse",
    "numpy",
    "orjson",
    "pandas",
    "polars",
    "pyarrow",
    "rich",
    "yaml",
)

_MODEL = (*_EVERYWHERE, "tensorflow", "keras", "matplotlib")

JAVA = "java"
"""A program, listed among the packages."""

_NOT_BY_PIP = {JAVA, "tensorflow_io"}
"""No file of requirements fixes these; the message names how to install tensorflow-io.
"""


@dataclass(frozen=True)
class Use:
    """Commands or options, and the packages that they need.

    Args:
        commands: The commands in words.
        packages: Names as in `import`.
        requirements: File that installs the packages.
    """

    commands: str
    packages: tuple[str, ...]
    requirements: str = "requirements.txt"


USES = (
    Use("pipelines.prepare, tfdlrm.plan", (*_EVERYWHERE, "matplotlib")),
    Use("train, export, compare", (*_MODEL, "tensorboard")),
    Use("evaluate, predict, importance", _MODEL),
    Use(
        "serve",
        (
            *(*_EVERYWHERE, "tensorflow", "grpc", "grpc_health.v1", "httptools"),
            *("tensorflow_serving.apis", "uvicorn", "uvloop"),
        ),
    ),
    Use("client", (*_EVERYWHERE, "grpc", "tensorflow_serving.apis")),
    Use("s3:// and kafka://", ("tensorflow", "tensorflow_io")),
    Use(
        "--format onnx",
        (*_MODEL, "onnx", "onnxruntime", "tf2onnx"),
        "requirements-onnx.txt",
    ),
    Use(
        "--engine spark",
        (*_EVERYWHERE, "pyspark", JAVA),
        "requirements-spark.txt",
    ),
    Use("TFRS models", (*_MODEL, "tf_keras", "tensorflow_recommenders")),
)

PACKAGES = tuple(
    dict.fromkeys(
        # TensorFlow first: other packages import it.
        ["numpy", "tensorflow", "keras"]
        + [name for use in USES for name in use.packages if name != JAVA]
    )
)


def working(problems: Mapping[str, str]) -> list[str]:
    """Return the uses whose packages all work.

    Args:
        problems: Reasons why packages do not work, by name.
    """
    return [use.commands for use in USES if not problems.keys() & set(use.packages)]


def not_working(problems: Mapping[str, str]) -> list[str]:
    """Return what does not work, and why; uses with the same reason share a line.

    Args:
        problems: Reasons why packages do not work, by name.
    """
    by_reason: dict[str, list[str]] = {}
    for use in USES:
        missing = [name for name in use.packages if name in problems]
        if missing:
            # The first package is the one that the others depend on.
            reason = f"{missing[0]} {problems[missing[0]]}"
            by_reason.setdefault(reason, []).append(use.commands)
    return [f"{', '.join(uses)}: {reason}" for reason, uses in by_reason.items()]


def requirements_of(problems: Mapping[str, str]) -> list[str]:
    """Return the files of requirements that install what is missing.

    Args:
        problems: Reasons why packages do not work, by name.
    """
    files: dict[str, str] = {}
    for use in reversed(USES):  # the first use of a package decides its file
        files |= dict.fromkeys(use.packages, use.requirements)
    packages = [name for name in files if name in problems.keys() - _NOT_BY_PIP]
    return sorted({files[name] for name in packages})


def java_problem() -> dict[str, str]:
    """Return the problem with Java, which Spark runs on, if there is one."""
    home = os.environ.get("JAVA_HOME")
    path = str(Path(home) / "bin" / JAVA) if home else JAVA
    return {} if shutil.which(path) else {JAVA: "is not installed"}
