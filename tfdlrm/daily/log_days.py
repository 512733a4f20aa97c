"""The days of a single log, cut by its column with the day or time."""

from pathlib import Path
from typing import Any

import orjson

from pipelines.logs.day_logs import cut_into_days
from pipelines.logs.inputs import Inputs
from tfdlrm.base import directories, storage
from tfdlrm.config.preparing import PrepareConfig
from tfdlrm.daily.days import Day, columns_of, identity_of

_DAYS_FILE = "days.json"


def days_of_one_log(
    log: Path, prepare: PrepareConfig, directory: Path
) -> list[Day] | None:
    """Cut a log into its days, unless that is done, and return the days.

    Args:
        log: A raw file, or a folder of files.
        prepare: How it is read.
        directory: Directory for the logs of the days.

    Returns:
        `None` if all rows are of one day, which needs no cutting.

    Raises:
        InputError: If the log cannot be read, or has a bad row.
    """
    source = {"files": _describe(log)}
    if not _is_cut(directory, source):
        print(f"Cutting {log} into its days", flush=True)
        with directories.new_directory(directory, last=_DAYS_FILE) as folder:
            folder.mkdir(parents=True)
            names = cut_into_days(log, columns_of(prepare), prepare.on_bad_row, folder)
            storage.replace_json(folder / _DAYS_FILE, {**source, "days": names})
    names = orjson.loads((directory / _DAYS_FILE).read_bytes())["days"]
    if len(names) == 1:
        return None
    return [
        Day(name, directory / name, identity_of(directory / name)) for name in names
    ]


def _is_cut(directory: Path, source: dict[str, Any]) -> bool:
    path = directory / _DAYS_FILE
    if not path.is_file():
        return False
    return bool(orjson.loads(path.read_bytes())["files"] == source["files"])


def _describe(log: Path) -> list[dict[str, Any]]:
    inputs = Inputs.of([log])
    files = []
    for name, path in zip(inputs.names, inputs, strict=True):
        stat = path.stat()
        files.append(
            {"name": name, "bytes": stat.st_size, "modified": stat.st_mtime_ns}
        )
    return files
