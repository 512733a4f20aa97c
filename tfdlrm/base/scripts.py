"""The commands under the names that the installed wheel gives them."""

import runpy
import sys
from pathlib import Path

_PREFIX = "tfdlrm-"
_PIPELINES = ("prepare", "random-data", "synthetic", "trace", "verify")


def run() -> None:
    """Run the command whose name this process has, as `python -m` does.

    `tfdlrm-train` is `python -m tfdlrm.train`, and `tfdlrm-prepare` is
    `python -m pipelines.prepare`.
    """
    runpy.run_module(
        module_of(Path(sys.argv[0]).name), run_name="__main__", alter_sys=True
    )


def module_of(script: str) -> str:
    """Return the module of a command, such as `tfdlrm.train` of `tfdlrm-train`."""
    command = script.removeprefix(_PREFIX)
    package = "pipelines" if command in _PIPELINES else "tfdlrm"
    return f"{package}.{command.replace('-', '_')}"
