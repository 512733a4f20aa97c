"""Files that appear complete or not at all."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tfdlrm.errors import InputError
from tfdlrm.storage import require_local, whole


def remove_remains(directory: Path) -> None:
    """Remove what processes that were killed have written aside in `storage.whole`."""
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
        InputError: If they are remote or directories, or the disk refuses.
    """
    require_local("output", targets[-1])
    for target in targets:
        if target.is_dir():
            raise InputError(f"{target} is a directory, expected a file to write")
    try:
        targets[0].parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            asides = [stack.enter_context(whole(each)) for each in reversed(targets)]
            yield asides[::-1]
    except OSError as error:
        raise InputError(
            f"{targets[-1]} cannot be written: {error.strerror or error}; expected a "
            "writable directory with room for it"
        ) from error
