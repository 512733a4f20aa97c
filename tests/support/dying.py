"""A kill of the test's own process, after which nothing is cleaned up."""

import os
import shutil
from pathlib import Path

import pytest


class DeadError(BaseException):
    """Raised in place of a kill."""


def die_at(patch: pytest.MonkeyPatch, name: str, renamed: bool) -> None:
    """Let the file system refuse everything once a file is to be renamed.

    Args:
        patch: Patch to undo before the next process runs.
        name: Final name of the file.
        renamed: Whether the file still gets its name.
    """
    is_dead = []
    replace = Path.replace

    def replace_or_die(self, target):
        if is_dead or Path(target).name != name:
            return _alive(is_dead, replace)(self, target)
        is_dead.append(True)
        if renamed:
            replace(self, target)
        raise DeadError

    patch.setattr(Path, "replace", replace_or_die)
    for owner, function in (
        (Path, "unlink"),
        (Path, "rename"),
        (Path, "mkdir"),
        (os, "fsync"),
        (shutil, "rmtree"),
    ):
        patch.setattr(owner, function, _alive(is_dead, getattr(owner, function)))


def _alive(is_dead, function):
    def act(*args, **kwargs):
        if is_dead:
            raise DeadError
        return function(*args, **kwargs)

    return act
