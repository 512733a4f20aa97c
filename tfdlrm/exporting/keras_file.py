"""A model as one `.keras` file, which Keras loads by itself."""

from pathlib import Path

import keras

from tfdlrm.base import storage
from tfdlrm.base.byte_size import format_byte_size
from tfdlrm.planning.memory_plan import FLOAT_BYTES, MAX_KERAS_BYTES

FILE_NAME = "model.keras"


def write_keras(model: keras.Model, path: Path) -> None:
    """Write the file, complete or not at all.

    Raises:
        OSError: If the disk refuses.
    """
    with storage.whole(path, suffix=".keras") as temporary:
        try:
            model.save(temporary)
        except RuntimeError as error:  # of HDF5 when the disk is full
            raise OSError(str(error)) from error


def keep_keras(model: keras.Model, path: Path, run: Path) -> None:
    """Write the file of a run if it is small; what hinders it costs the run nothing.

    Args:
        model: The trained model.
        path: The file.
        run: The run, for messages.
    """
    num_bytes = FLOAT_BYTES * model.count_params()
    again = f"python -m tfdlrm.export --run_dir {run} --format keras"
    if num_bytes > MAX_KERAS_BYTES:
        size = format_byte_size(num_bytes)
        print(f"No {FILE_NAME} of {size} in the run's directory: {again} writes one")
        return
    try:
        write_keras(model, path)
    except OSError as error:
        print(f"{path} cannot be written ({error}): make room, then {again}")
