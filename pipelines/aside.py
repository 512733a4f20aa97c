"""Files that appear complete or not at all."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tfdlrm.errors import InputError
from tfdlrm.storage import require_local


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A path to write to, which becomes `target` if all goes well.

    It is another each time, so that of two processes, one of which may be left over
    from a run that was killed, neither writes into the other's file.

    Args:
        target: The file.

    Yields:
        A path beside it.
    """
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        yield aside
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def remove_remains(directory: Path) -> None:
    """Remove what processes that were killed have written aside in `whole`."""
    for path in directory.rglob(".*.partial"):
        path.unlink(missing_ok=True)


@contextmanager
def written_aside(*targets: Path) -> Iterator[list[Path]]:
    """Paths to write to, which become `targets`, in their order, if all goes well.

    Args:
        targets: Files of one directory, which is made if need be.

    Yields:
        A path beside each of them.

    Raises:
        InputError: If they are remote, or the disk refuses.
    """
    require_local("output", targets[-1])
    asides = [each.with_name(f".{each.name}.partial") for each in targets]
    try:
        targets[0].parent.mkdir(parents=True, exist_ok=True)
        yield asides
        for aside, target in zip(asides, targets, strict=True):
            aside.replace(target)
    except OSError as error:
        raise InputError(
            f"{targets[-1]} cannot be written: {error.strerror or error}; expected a "
            "writable directory with room for it"
        ) from error
    finally:
        for aside in asides:
            with suppress(OSError):  # there may not even be a directory
                aside.unlink()
