"""The weights that early stopping keeps: one file, with its checksum behind it."""

import hashlib
import re
from pathlib import Path
from typing import Any

import keras

from tfdlrm.base import storage
from tfdlrm.base.checksums import file_sha256
from tfdlrm.base.errors import InputError
from tfdlrm.training.run_directory import RunDirectory

# HDF5 knows its own end, and ignores what follows it. A file beside it could be of
# other weights after a kill between the two.
_TRAILER = re.compile(rb"\nsha256 ([0-9a-f]{64})\n")
_TRAILER_BYTES = 73
_READ_BYTES = 2**22


def write_best_weights(model: keras.Model, run: RunDirectory) -> None:
    """Write the weights of a model in place of those before.

    Raises:
        OSError: If the disk refuses.
    """
    target = run.best_weights_file
    partial = target.with_name(f".partial-{target.name}")
    try:
        model.save_weights(partial)
        checksum = file_sha256(partial)
        with partial.open("ab") as file:
            file.write(f"\nsha256 {checksum}\n".encode())
        storage.rename(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def load_best_weights(model: keras.Model, run: RunDirectory) -> None:
    """Give a model the best weights of a run.

    Raises:
        InputError: If they are missing, damaged, or of another model.
    """
    path = check_best_weights(run)
    try:
        model.load_weights(path)
    except Exception as error:  # the file may be damaged in any way
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{run.best_weights_file} cannot be read ({reason}): expected the best "
            "weights of this run; put back a copy of the file, or train again with "
            "another --run_dir"
        ) from None


def load_kept_weights(
    model: keras.Model, run: RunDirectory, stops_early: bool, state: dict[str, Any]
) -> None:
    """Give a model the best weights of a run, if the run keeps such.

    Args:
        model: The model, with the weights of a checkpoint.
        run: The run.
        stops_early: Whether the run has early stopping.
        state: The state of the checkpoint.

    Raises:
        InputError: If they should be there and are missing, or are damaged.
    """
    splits = [point["split"] for point in state.get("points", [])]
    if run.best_weights_file.is_file() or (stops_early and "validation" in splits):
        load_best_weights(model, run)


def check_best_weights(run: RunDirectory) -> Path:
    """Compare the best weights of a run with their checksum.

    Returns:
        The file, on this machine.

    Raises:
        InputError: If it is missing or damaged.
    """
    target = run.best_weights_file
    if not target.is_file():
        raise InputError(
            f"{target} is missing, expected the weights of the best step: put it back, "
            "or train again with another --run_dir"
        )
    path = storage.local_copy(target)
    found, written = _checksums(path)
    if written is None:
        print(f"{target} holds no checksum of its own: it cannot be checked for damage")
    elif found != written:
        raise InputError(
            f"{target} is damaged: its SHA-256 is {found}, expected {written}; put "
            "back a copy of the file, or train again with another --run_dir"
        )
    return path


def _checksums(path: Path) -> tuple[str, str | None]:
    """Return the checksum of the weights in a file, and the one written behind them.

    The second is `None` where an earlier release wrote the file.
    """
    left = path.stat().st_size - _TRAILER_BYTES
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while left > 0 and (contents := file.read(min(_READ_BYTES, left))):
            digest.update(contents)
            left -= len(contents)
        trailer = _TRAILER.fullmatch(file.read())
    return digest.hexdigest(), trailer[1].decode() if trailer else None
