"""What processes that were killed have left behind."""

from pathlib import Path


def remove_remains(directory: Path) -> None:
    """Remove what processes that were killed have written aside in `storage.whole`."""
    for path in directory.rglob(".*.partial"):
        path.unlink(missing_ok=True)
