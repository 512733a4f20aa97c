"""The steps of a day, each a command in its own process that resumes its work."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import yaml

from tfdlrm.base import storage
from tfdlrm.base.child_process import error_line
from tfdlrm.base.command_line import to_yaml
from tfdlrm.base.errors import InputError
from tfdlrm.config.preparing import PrepareConfig
from tfdlrm.config.rolling import RollingConfig
from tfdlrm.config.training import TrainConfig
from tfdlrm.daily.scoring import ScoreDay
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.training.run_directory import RunDirectory

TIMES_FILE = "times.jsonl"

Run = Callable[[str, Path, Sequence[int]], CompletedProcess[str]]
"""A function like `tfdlrm.base.child_process.run_in_process`."""


class Steps:
    """Runs steps one after another.

    Args:
        config: The settings.
        lock: An open file that the processes hold until they end.
        run: Function that runs a command with a file of settings.
    """

    def __init__(self, config: RollingConfig, lock: int, run: Run) -> None:
        self._config, self._lock, self._run_command = config, lock, run
        self.day = ""

    def score(self, job: Path, models: Mapping[str, Path], day: Path) -> None:
        """Measure models on a day, and write `scores.json` next to `job`."""
        command = ScoreDay(
            names=tuple(models),
            models=tuple(models.values()),
            output_file=job.with_name("scores.json"),
            raw=day if self._config.raw else None,
            data_dir=None if self._config.raw else day,
            on_bad_row=self._config.prepare.on_bad_row,
        )
        self._run("tfdlrm.daily.scoring", job, to_yaml(command))

    def prepare(self, job: Path, raw: Path, output: Path, earlier: Path | None) -> None:
        """Prepare the log of a day.

        Args:
            job: File for the settings.
            raw: The log.
            output: The data set to make; a finished one is checked and used again.
            earlier: The data set that it extends.
        """
        settings = extending(self._config, earlier)
        contents = yaml.safe_load(to_yaml(settings))
        contents |= {"raw": [str(raw)], "output": str(output)}
        self._run("pipelines.prepare", job, yaml.safe_dump(contents, sort_keys=False))

    def train(
        self, job: Path, data: Path, run: Path, versions: Path, earlier: Path | None
    ) -> Path:
        """Train on the data set of a day, unless that is done, and export.

        Args:
            job: File for the settings.
            data: The data set.
            run: Directory of the run.
            versions: Directory of the model's versions.
            earlier: Run from which it starts; `None` starts from nothing.

        Returns:
            The exported version.
        """
        if not RunDirectory(run).report_file.exists():
            settings = starting_from(self._config, data, run, versions, earlier)
            self._run("tfdlrm.train", job, to_yaml(settings))
        return storage.at(RunDirectory(run).load_summary()["model"])

    def _run(self, module: str, job: Path, settings: str) -> None:
        start = time.perf_counter()
        job.parent.mkdir(parents=True, exist_ok=True)
        storage.replace_text(job, settings)
        process = self._run_command(module, job, [self._lock])
        storage.replace_text(job.with_suffix(".log"), process.stdout + process.stderr)
        message = error_line(process)
        if message is not None:
            raise InputError(f"{self.day}: {message}")
        step = {
            "day": self.day,
            "step": job.stem,
            "seconds": round(time.perf_counter() - start, 3),
        }
        with (self._config.output / TIMES_FILE).open("a", encoding="utf-8") as times:
            times.write(json.dumps(step) + "\n")


def extending(config: RollingConfig, earlier: Path | None) -> PrepareConfig:
    """Return the settings of preparing a day that extends an earlier data set."""
    settings = config.preparing()
    if earlier is None:
        return settings
    # An absolute path is the same setting wherever the run is resumed.
    extend = earlier.absolute()
    return replace(settings, extend=extend, forget_days=config.forget_days)


def starting_from(
    config: RollingConfig, data: Path, run: Path, versions: Path, earlier: Path | None
) -> TrainConfig:
    """Return the settings of training on a day that starts from an earlier run."""
    settings = config.training(data, run, versions)
    if earlier is None:
        return settings
    return replace(settings, init_from=earlier.absolute())


def has_checksums(data: Path, checksums: Sequence[str]) -> bool:
    """Whether a data set was made of the files that had some checksums.

    Args:
        data: The data set.
        checksums: SHA-256 of each file of the log when its day began.
    """
    source: dict[str, Any] = FeatureSchema.load(data).source or {}
    return [file["sha256"] for file in source.get("files", [])] == list(checksums)
