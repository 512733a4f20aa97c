"""The days of a rolling run: what each of them is, checked before any work."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.logs.checksums import file_checksum
from pipelines.logs.columns import Columns
from pipelines.logs.columns_file import load_columns
from pipelines.logs.damage import reading
from pipelines.logs.inputs import Inputs, require_outside
from pipelines.logs.opening import open_all
from tfdlrm.base.errors import InputError
from tfdlrm.base.piped_input import refuse_pipe
from tfdlrm.config.preparing import PrepareConfig
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.meaning_differences import differences, summarize
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents


@dataclass(frozen=True)
class Day:
    """A day to learn from.

    Args:
        name: Name of the day in the report.
        path: Its raw file or folder, or its data set directory.
        identity: What shows that a day of that name is the same, in types of JSON.
    """

    name: str
    path: Path
    identity: Any


def days_of_logs(
    paths: Sequence[Path], prepare: PrepareConfig, output: Path
) -> list[Day]:
    """Return a day for each log, after a look at the beginning of each.

    Args:
        paths: Raw files or folders, in order of time.
        prepare: How they are read.
        output: The directory of the rolling run.

    Raises:
        InputError: If a log cannot be read, has no rows or no labels.
    """
    columns = columns_of(prepare)
    _require_order("raw", paths)
    require_outside(output, paths)
    for path in paths:
        refuse_pipe("raw", path)
    days = []
    for name, path in zip(_names(paths), paths, strict=True):
        open_all(Inputs.of([path]), columns, prepare.on_bad_row)
        days.append(Day(name, path, identity_of(path)))
    return days


def columns_of(prepare: PrepareConfig) -> Columns:
    """Return the columns of the raw logs."""
    return load_columns(prepare.columns) if prepare.columns else Columns.criteo()


def is_one_log_of_days(paths: Sequence[Path], prepare: PrepareConfig) -> bool:
    """Whether there is one log, whose rows have a day or a time."""
    return len(paths) == 1 and columns_of(prepare).days_by is not None


def checksums_of(day: Day) -> list[str]:
    """Return the SHA-256 of each file of a day's log."""
    return [file_checksum(path) for path in Inputs.of([day.path])]


def identity_of(path: Path) -> list[dict[str, Any]]:
    """Describe the files of a day; their contents are compared by their sizes."""
    inputs = Inputs.of([path])
    files = []
    for name, path in zip(inputs.names, inputs, strict=True):
        with reading(path):
            files.append({"name": name, "bytes": path.stat().st_size})
    return files


def days_of_data_sets(paths: Sequence[Path]) -> list[Day]:
    """Return a day for each data set, of which each extends the one before.

    Raises:
        InputError: If a data set cannot be used, or extends another one.
    """
    _require_order("data_dirs", paths)
    days = []
    earlier: tuple[Path, Meaning] | None = None
    for name, path in zip(_names(paths), paths, strict=True):
        schema = with_contents(FeatureSchema.load(path), path)
        if not schema.num_rows("train"):
            raise InputError(f"{path} has no train rows: prepare it with some")
        meaning = Meaning.of(schema)
        if earlier is not None:
            _require_chain(schema, path, meaning, *earlier)
        earlier = path, meaning
        identity = {"rows": schema.fingerprint, "meaning": meaning.fingerprint}
        days.append(Day(name, path, identity))
    return days


def _require_chain(
    schema: FeatureSchema,
    path: Path,
    meaning: Meaning,
    earlier_path: Path,
    earlier_meaning: Meaning,
) -> None:
    links = [link.meaning for link in schema.chain]
    if earlier_meaning.fingerprint in (meaning.fingerprint, *links):
        return
    reasons = differences(earlier_meaning, meaning)
    raise InputError(
        f"{path} does not extend {earlier_path}, the day before it: "
        f"{summarize(reasons)}; prepare it with --extend {earlier_path}, or put the "
        "days into the order of time"
    )


def _require_order(name: str, paths: Sequence[Path]) -> None:
    """Refuse names in the order of a shell, by which day_10 comes before day_2.

    Raises:
        InputError: If they are sorted as text, and not by the numbers in them.
    """
    names = list(map(str, paths))
    by_number = sorted(names, key=_with_numbers)
    if names == sorted(names) and names != by_number:
        index = [a == b for a, b in zip(names, by_number, strict=True)].index(False)
        raise InputError(
            f"{name} has {names[index]} before {by_number[index]}, as shells sort "
            "names, expected the days in order of time: give them in that order, such "
            "as by day_{0..23}, or write their numbers with leading zeros"
        )


def _with_numbers(name: str) -> list[tuple[int, str]]:
    """Return a key by which names are sorted by the numbers in them."""
    parts = re.split("([0-9]+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _names(paths: Sequence[Path]) -> list[str]:
    """Return short names of paths, or the paths if these would be ambiguous."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else list(map(str, paths))
