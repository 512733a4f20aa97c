"""The directory of a rolling run: its settings, its days and their files."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import yaml

from pipelines.logs.columns_file import load_columns
from pipelines.logs.inputs import Inputs
from tfdlrm.base import directories, storage
from tfdlrm.base.checksums import seal, sorted_sha256, unseal
from tfdlrm.base.command_line import to_yaml
from tfdlrm.base.errors import InputError
from tfdlrm.config.rolling import RollingConfig
from tfdlrm.daily.days import Day, checksums_of
from tfdlrm.training.run_settings import first_difference

JOURNAL_FILE = "rolling.json"

_WITHOUT_EFFECT = (
    "raw",
    "data_dirs",
    "output",
    "keep",
    "checkpoints",
    "profile_steps",
    "weight_histograms",
    "allow_one_class",
    "allow_other_columns",
)
_PREPARE_WITHOUT_EFFECT = ("memory_budget", "engine", "master", "on_bad_row")
"""Settings that change no number, or refuse a day that is not learned then.

They may be others when a run is resumed.
"""


class DayFiles:
    """The files of one day.

    Args:
        folder: The folder of the day.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scores = folder / "scores.json"
        self.learned = folder / "learned.json"
        self.data = folder / "data"
        self.run = folder / "run"
        self.cold = folder / "cold"

    def job(self, name: str) -> Path:
        """Return the file with the settings of a step; next to it is its log."""
        return self.folder / f"{name}.yaml"

    def remove_models(self) -> None:
        """Remove what later days do not need."""
        for directory in (self.data, self.run, self.cold):
            directories.remove_tree(directory)


class Journal:
    """What a rolling run has begun, on disk.

    Args:
        output: The directory of the run.
        lock: An open file that other processes of this run hold until they end.
    """

    def __init__(self, output: Path, lock: int) -> None:
        self.output, self.lock = output, lock
        self.frozen = output / "frozen"
        self.days: list[dict[str, Any]] = []
        self._settings: dict[str, Any] = {}

    @classmethod
    @contextmanager
    def opened(cls, config: RollingConfig) -> Iterator["Journal"]:
        """Hold the output directory of a new run, or of one with the same settings.

        Raises:
            InputError: If the directory holds something else, or is in use.
        """
        output = config.output
        _require_usable(output)
        directories.make_directory("output", output)
        in_use = (
            f"output {output} is in use: another process learns day by day in it; wait "
            "for it, or give another one"
        )
        with directories.only_process(output, in_use):
            directories.make_directories(output / "days")
            with _waiting(output / "days") as lock:
                journal = cls(output, lock)
                journal._take(_settings(config))
                yield journal

    def files(self, number: int) -> DayFiles:
        """Return the files of a day; days are numbered from 0."""
        return DayFiles(self.output / "days" / f"{number + 1:04d}")

    def is_learned(self, number: int) -> bool:
        """Whether a day was learned from."""
        return number < len(self.days) and self.files(number).learned.is_file()

    def model(self, number: int) -> Path:
        """Return the version that was exported after a day."""
        return storage.at(_read(self.files(number).learned)["model"])

    def scores(self, number: int) -> dict[str, Any]:
        """Return the measures of each model on a day; the first day has none."""
        path = self.files(number).scores
        return _read(path) if path.is_file() else {}

    def place(self, days: Sequence[Day]) -> int:
        """Return the number of the first of `days`, of which some may be done.

        Raises:
            InputError: If they are not the days of this run.
        """
        if not self.days:
            return 0
        names = [day["name"] for day in self.days]
        first = _position(days[0].name, names)
        if first is None:
            raise InputError(
                f"output {self.output} is of another rolling run, whose days are "
                f"{_span(names)}; the first of these days is {days[0].name}: give "
                "another --output, or the days of that run and those after them"
            )
        for number, day in enumerate(days, start=first):
            if not self._has_results(number):
                break
            old_day = self.days[number]
            if not _is_same_name(day.name, old_day["name"]):
                raise InputError(
                    f"output {self.output} is of a rolling run in which "
                    f"{old_day['name']} is the day that is {day.name} now: give the "
                    "same days in the same order, or another --output"
                )
            is_same = day.identity == old_day["identity"]
            if not is_same or self._is_rewritten(number, day):
                raise changed(day, self.output)
        return first

    def _is_rewritten(self, number: int, day: Day) -> bool:
        """Whether a log that was written to since it was learned has other contents."""
        checksums, learned = self.checksums(number), self.files(number).learned
        if not checksums or not learned.is_file():
            return False
        time = learned.stat().st_mtime_ns
        paths = Inputs.of([day.path])
        is_newer = any(path.stat().st_mtime_ns >= time for path in paths)
        return is_newer and checksums_of(day) != checksums

    def _has_results(self, number: int) -> bool:
        """Whether anything came of a day; if not, its log may still be repaired."""
        files = self.files(number)
        results = (files.scores, files.data, files.run, files.learned)
        return number < len(self.days) and any(path.exists() for path in results)

    def checksums(self, number: int) -> list[str]:
        """Return the checksums that the files of a day had when it began."""
        return list(self.days[number]["sha256"])

    def begin(self, number: int, day: Day, checksums: Sequence[str]) -> None:
        """Note a day before anything is done with it.

        Raises:
            InputError: If it was begun before, with other contents.
        """
        if not self._has_results(number):
            entry = {"name": day.name, "identity": day.identity, "sha256": checksums}
            self.days[number:] = [entry]
            self._save()
        if self.checksums(number) != list(checksums):
            raise changed(day, self.output)

    def _take(self, settings: dict[str, Any]) -> None:
        """Read the journal, and compare its settings with those given."""
        path = self.output / JOURNAL_FILE
        storage.remove_temporary_files(self.output, below=False)
        if not path.exists():
            self._settings = settings
            self._save()
            return
        try:
            contents = unseal(path.read_text(encoding="utf-8"))
            self._settings, self.days = contents["settings"], contents["days"]
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"{path} is damaged ({error}), expected the journal of a rolling run: "
                "put back a copy, or give another --output"
            ) from None
        difference = first_difference(self._settings, settings)
        if difference:
            raise InputError(
                f"output {self.output} is of a rolling run with other settings: "
                f"{difference}; give the same ones, or another --output"
            )

    def _save(self) -> None:
        contents = {"settings": self._settings, "days": self.days}
        storage.replace_text(self.output / JOURNAL_FILE, seal(contents) + "\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        contents: dict[str, Any] = orjson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is damaged ({error}): remove it, and its step is done again"
        ) from None
    return contents


def changed(day: Day, output: Path) -> InputError:
    """Return the error for a day that is another one than when it began."""
    return InputError(
        f"{day.path} has changed since its day began in {output}: what is measured "
        "must be what is learned; put it back, or give another --output"
    )


def _settings(config: RollingConfig) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load(to_yaml(config))
    for name in _WITHOUT_EFFECT:
        del settings[name]
    for name in _PREPARE_WITHOUT_EFFECT:
        del settings["prepare"][name]
    columns = config.prepare.columns
    # By another name than export_dir, which a run may change.
    versions = {"versions": str(config.versions_dir), "from_data_sets": not config.raw}
    if columns is not None:  # whatever the file is called, and its comments say
        described = sorted_sha256(load_columns(columns).to_json())
        settings["prepare"]["columns"] = described
    return {**settings, **versions}


def _require_usable(output: Path) -> None:
    """Refuse a directory with other contents than those of a rolling run."""
    if output.exists() and not output.is_dir():
        raise InputError(f"output {output} is a file, expected a directory to make")
    if not output.is_dir() or (output / JOURNAL_FILE).exists():
        return
    names = [path.name for path in output.iterdir() if not path.name.startswith(".")]
    # A run that was killed at once has nothing but its empty folder of days.
    if names not in ([], ["days"]) or any((output / "days").glob("*")):
        raise InputError(
            f"output {output} is in use already: it holds {min(names)}, expected a new "
            "directory or that of a rolling run"
        )


@contextmanager
def _waiting(directory: Path) -> Iterator[int]:
    """Hold a directory, once the processes that a killed run has left there end."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for a process of the stopped run to end", flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _position(name: str, names: Sequence[str]) -> int | None:
    """Return the position of a day among the names of others; `None` if it is new."""
    if name in names:
        return names.index(name)
    matches = (index for index, old in enumerate(names) if _is_same_name(name, old))
    return next(matches, None)


def _is_same_name(name: str, old_name: str) -> bool:
    """Whether names may be those of one day: files alike are named by their folders."""
    longer, shorter = sorted([name, old_name], key=len, reverse=True)
    return longer == shorter or longer.endswith(f"/{shorter}")


def _span(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
