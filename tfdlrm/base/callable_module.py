"""Modules of commands that are also functions: `tfdlrm.train(…)`."""

import inspect
import sys
from types import ModuleType
from typing import Any


class CallableModule(ModuleType):
    """A module that is called as the function in it that has the module's name.

    `tfdlrm.train` is the function for users and stays the module that
    `python -m tfdlrm.train` runs and that has other names in it.
    """

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature of the function, for `help` and editors."""
        return inspect.signature(self._function)

    @property
    def _function(self) -> Any:
        return vars(self)[self.__name__.rpartition(".")[2]]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)


def make_callable(name: str) -> None:
    """Let a module be called as its function of the same name.

    Args:
        name: The module's `__name__`; nothing changes for the one that Python runs.
    """
    if name != "__main__":
        sys.modules[name].__class__ = CallableModule
