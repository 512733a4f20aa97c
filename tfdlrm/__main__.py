"""`python -m tfdlrm`: the commands in a table, and each of them by its name."""

import runpy
import sys

from tfdlrm.base.commands import as_table, module_of
from tfdlrm.base.exit_status import run_command
from tfdlrm.base.version import __version__


def main() -> None:
    """Print the table or the version, or run the command that the first word names.

    Raises:
        InputError: If there is no such command.
    """
    word, *arguments = sys.argv[1:] or ["--help"]
    if word in ("-h", "--help"):
        print(as_table(), end="")
    elif word == "--version":
        print(f"tfdlrm {__version__}")
    else:
        module = module_of(word)
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    run_command(main)
