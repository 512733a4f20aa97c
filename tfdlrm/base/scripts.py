"""The commands under the names that the installed wheel gives them."""

import runpy
import sys
from pathlib import Path

from tfdlrm.base import commands

_PREFIX = "tfdlrm-"


def run() -> None:
    """Run the command whose name this process has, as `python -m` does.

    `tfdlrm-train` is `python -m tfdlrm.train`, `tfdlrm-prepare` is
    `python -m pipelines.prepare`, and `tfdlrm` is `python -m tfdlrm`.
    """
    runpy.run_module(
        module_of(Path(sys.argv[0]).name), run_name="__main__", alter_sys=True
    )


def module_of(script: str) -> str:
    """Return the module of a script, such as `tfdlrm.train` of `tfdlrm-train`."""
    if not script.startswith(_PREFIX):
        return "tfdlrm.__main__"
    return commands.module_of(script.removeprefix(_PREFIX))
