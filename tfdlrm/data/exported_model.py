"""Where an exported model keeps its schema and vocabularies, next to its graph."""

from pathlib import Path

from tfdlrm.base import storage
from tfdlrm.data.schema import FILE_NAME

MODEL_FILE = "saved_model.pb"

EXTRA_DIRECTORY = "assets.extra"
"""TF Serving's directory for files that travel with a model outside its graph."""

MANIFEST_NAME = "manifest.json"


def schema_directory(path: Path) -> Path | None:
    """Return the directory with the schema of a data set or of an exported model.

    Args:
        path: A data set, a version of a model, or the directory of its versions, of
            which the newest whole one counts.

    Returns:
        `None` if there is no schema.

    Raises:
        OSError: If a directory cannot be read.
    """
    path = storage.at(path)
    if (path / FILE_NAME).is_file():
        return path
    if (path / EXTRA_DIRECTORY / FILE_NAME).is_file():
        return path / EXTRA_DIRECTORY
    if not path.is_dir():
        return None
    versions = [
        entry
        for entry in path.iterdir()
        if entry.name.isascii()
        and entry.name.isdecimal()
        and (entry / MODEL_FILE).is_file()
        and (entry / EXTRA_DIRECTORY / FILE_NAME).is_file()
    ]
    newest = max(versions, key=lambda entry: int(entry.name), default=None)
    return newest and newest / EXTRA_DIRECTORY
