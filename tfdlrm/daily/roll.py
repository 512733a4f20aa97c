"""Learning day by day: models of earlier days score a day, then it is learned."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tfdlrm.base import directories, storage
from tfdlrm.base.child_process import run_in_process
from tfdlrm.base.errors import InputError
from tfdlrm.base.plain_text import visible
from tfdlrm.config.preparing import PrepareConfig
from tfdlrm.config.rolling import Contender, RollingConfig
from tfdlrm.daily.days import (
    Day,
    checksums_of,
    days_of_data_sets,
    days_of_logs,
    is_one_log_of_days,
)
from tfdlrm.daily.journal import Journal, changed
from tfdlrm.daily.log_days import days_of_one_log
from tfdlrm.daily.report import in_a_line, write_report
from tfdlrm.daily.steps import Run, Steps, has_checksums
from tfdlrm.exporting.versions import next_version, remove_version

WARM, COLD, FROZEN = "warm", "cold", "frozen"


def roll(config: RollingConfig, run: Run = run_in_process) -> Path:
    """Go through all days that were not learned from yet, and write the report.

    Args:
        config: The settings.
        run: Function that runs the command of each step.

    Returns:
        Path of `report.md`.

    Raises:
        InputError: If a day or a setting cannot be used, or the output belongs to
            another rolling run.
    """
    next_version(config.versions_dir)  # refuses a full directory before any work
    # A look at the beginning of every log, even of one that has to be cut into days.
    days = (
        days_of_data_sets(config.data_dirs)
        if config.data_dirs
        else days_of_logs(config.raw or (), config.prepare, config.output)
    )
    if config.data_dirs and config.prepare != PrepareConfig():
        print("The data sets are prepared: no setting of prepare is used")
    with Journal.opened(config) as journal:
        if config.raw and is_one_log_of_days(config.raw, config.prepare):
            folder = config.output / "log"
            days = days_of_one_log(config.raw[0], config.prepare, folder) or days
        first = journal.place(days)
        steps = Steps(config, journal.lock, run)
        rolling = _Rolling(config, journal, steps, first, days)
        for number in range(first, first + len(days)):
            if not journal.is_learned(number):
                rolling.learn(number)
            rolling.remove_old(number)
        return write_report(journal, (WARM, *config.compare))


class _Rolling:
    """Scores and learns the days of a run.

    Args:
        config: The settings.
        journal: The run.
        steps: Runs the steps of a day.
        first: Number of the first of `days`, counted from 0.
        days: The days, of which the first ones may be done.
    """

    def __init__(
        self,
        config: RollingConfig,
        journal: Journal,
        steps: Steps,
        first: int,
        days: Sequence[Day],
    ) -> None:
        self._config, self._journal, self._steps = config, journal, steps
        self._first, self._days = first, days

    def learn(self, number: int) -> None:
        """Score a day, and then learn from it."""
        day = self._day(number)
        self._steps.day = day.name
        self._journal.begin(number, day, checksums_of(day) if self._config.raw else [])
        if number:
            self._score(number, day)
        files = self._journal.files(number)
        storage.remove_temporary_files(files.folder, below=False)
        data = self._prepare(number, day) if self._config.raw else day.path
        versions = storage.at(self._config.versions_dir)
        earlier = self._journal.files(number - 1).run if number else None
        model = self._steps.train(
            files.job("train"), data, files.run, versions, earlier
        )
        if not number and FROZEN in self._config.compare:
            self._keep_frozen(model)
        storage.replace_json(files.learned, {"model": str(model)})
        print(f"{day.name}: learned: {model}", flush=True)

    def remove_old(self, number: int) -> None:
        """Remove the models of days that are older than the newest `keep`."""
        keep = self._config.keep
        for old_number in range(number + 1 - keep if keep else 0):
            self._journal.files(old_number).remove_models()
            remove_version(self._journal.model(old_number))

    def _prepare(self, number: int, day: Day) -> Path:
        """Return the data set of a day, which extends that of the day before."""
        files = self._journal.files(number)
        earlier = self._journal.files(number - 1).data if number else None
        self._steps.prepare(files.job("prepare"), day.path, files.data, earlier)
        if not has_checksums(files.data, self._journal.checksums(number)):
            raise changed(day, self._config.output)
        return files.data

    def _score(self, number: int, day: Day) -> None:
        """Measure every model on a day that none of them has seen."""
        files = self._journal.files(number)
        if not files.scores.is_file():
            models = {WARM: self._journal.model(number - 1)}
            for name in self._config.compare:
                models[name] = self._contender(name, number)
            self._steps.score(files.job("scores"), models, day.path)
        for model, measures in self._journal.scores(number).items():
            print(f"{day.name}: {model}: {in_a_line(measures)}", flush=True)
            for line in measures.get("warnings", []) if model == WARM else ():
                print(visible(f"{day.name}: {line}"), file=sys.stderr)

    def _contender(self, name: Contender, number: int) -> Path:
        """Return the model of a name that scores a day."""
        if number == 1:  # all begin with the same first day
            return self._journal.model(0)
        return self._cold(number - 1) if name == COLD else self._journal.frozen

    def _cold(self, number: int) -> Path:
        """Return a model that was trained on one day from nothing."""
        files = self._journal.files(number)
        if number < self._first:
            raise InputError(
                f"{COLD} is trained on the day before {self._day(number + 1).name}, "
                "which is not among these days: give it too"
            )
        day = self._day(number)
        data = day.path
        if self._config.raw:
            data = files.cold / "data"
            self._steps.prepare(files.job("cold_prepare"), day.path, data, None)
        run, versions = files.cold / "run", files.cold / "model"
        return self._steps.train(files.job("cold_train"), data, run, versions, None)

    def _keep_frozen(self, model: Path) -> None:
        """Copy the model of the first day, whose version may be removed."""
        with directories.new_directory(
            self._journal.frozen, last="saved_model.pb"
        ) as copy:
            directories.copy_tree(model, copy)

    def _day(self, number: int) -> Day:
        return self._days[number - self._first]
