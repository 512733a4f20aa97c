"""Interrupted preparing, and the files that it leaves."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.stages.journal import Journal


def files_of(directory: Path) -> dict[str, bytes]:
    """Return the contents of all files below a directory, by relative path."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@contextmanager
def interrupted_after(step: str, count: int = 3) -> Iterator[None]:
    """Interrupt the work of the block after `count` entries of a step."""
    add = Journal.add

    def add_and_stop(journal, name, entry):
        add(journal, name, entry)
        if name == step and journal.count(step) == count:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "add", add_and_stop)
        with pytest.raises(KeyboardInterrupt):
            yield
