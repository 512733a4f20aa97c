"""A raw log that a trained model can score, for the command that a run prints."""

from pathlib import Path

from tfdlrm.base import storage
from tfdlrm.data.schema import FeatureSchema


def log_to_score(raw: Path | None, data_dir: Path, schema: FeatureSchema) -> Path:
    """Return the log that a data set was prepared from, or a name of its file format.

    Args:
        raw: The log, if the run has prepared it.
        data_dir: The data set.
        schema: Its schema, which has names and sizes of the logs, but no folders.

    Example:

    >>> schema = FeatureSchema((), (), columns={"format": "parquet"})
    >>> log_to_score(None, Path("data/clicks"), schema)
    PosixPath('RAW.parquet')
    """
    if raw is not None:
        return raw
    files = (schema.source or {}).get("files", [])
    folders = [Path()]
    if not storage.is_remote(storage.at(data_dir)):
        folders += [data_dir.parent, data_dir.parent.parent]
    for file in files:
        for folder in folders:
            path = folder / file["name"]
            if path.is_file() and path.stat().st_size == file["bytes"]:
                return path
    file_format = (schema.columns or {}).get("format", "tsv")
    return Path(f"RAW.{'tsv' if file_format == 'criteo' else file_format}")
