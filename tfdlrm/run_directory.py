"""The directory of one training run: what is in it and how it is read back."""

import json
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tfdlrm import storage
from tfdlrm.cluster import Cluster
from tfdlrm.command_line import parse, to_yaml
from tfdlrm.config import TrainConfig
from tfdlrm.errors import InputError


@dataclass(frozen=True)
class RunDirectory:
    """Files of one run.

    Args:
        path: The directory.
        remote: Where the directory is, if `path` is a local copy to work in; its
            checkpoints are there alone.
        restored_from: The directory whose checkpoints the run goes on from, where that
            is another process' own.
        worker: Of such a process, its name.
    """

    path: Path
    remote: Path | None = None
    restored_from: Path | None = None
    worker: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", storage.at(self.path))

    @property
    def home(self) -> Path:
        """The directory as the user named it."""
        return self.remote or self.path

    @classmethod
    @contextmanager
    def opened(cls, config: TrainConfig) -> Iterator["RunDirectory"]:
        """Hold the directory of `config.run_dir`, or a new one under `runs/`.

        Args:
            config: The run's settings.

        Yields:
            The directory, new or of an unfinished run with the same settings.

        Raises:
            InputError: If it holds another or a finished run, or a process is at work
                in it.
        """
        name = time.strftime(f"{config.model.name}-%Y%m%d-%H%M%S")
        run = cls(config.run_dir or Path("runs") / name)
        if storage.is_remote(run.path):
            if config.early_stopping is not None:
                raise InputError(
                    f"run_dir is {run.path}, expected a directory on this machine: "
                    "early_stopping keeps its best weights there"
                )
            with storage.mirrored(run.path, leave_out="checkpoints") as local:
                copy = cls(local, remote=run.path)
                copy._take(to_yaml(replace(config, run_dir=run.path)))
                storage.copy_tree(local, run.path)
                yield copy
            return
        storage.make_directory("run_dir", run.path)
        with run.only_process():
            run._take(to_yaml(replace(config, run_dir=run.path)))
            yield run

    @classmethod
    @contextmanager
    def of_another_worker(cls, config: TrainConfig) -> Iterator["RunDirectory"]:
        """A place that is forgotten, for workers whose chief writes the run's files.

        Args:
            config: The run's settings; its checkpoints are read.

        Yields:
            The directory.
        """
        with TemporaryDirectory(prefix="tfdlrm-worker-") as path:
            there = config.run_dir and storage.at(config.run_dir)
            worker = f"worker-{Cluster.from_environment().index}"
            yield cls(Path(path), restored_from=there, worker=worker)

    def _take(self, config: str) -> None:
        """Write the settings into a new directory, or compare them with those there."""
        self.require_unfinished()
        difference = None
        if self.config_file.exists():
            difference = _first_difference(self.config_file.read_text(), config)
        if difference:
            raise InputError(
                f"run_dir {self.home} holds an unfinished run with other settings: "
                f"{difference}; give another one, or go on with --config "
                f"{self.home / self.config_file.name}"
            )
        # What is there may go on elsewhere, and tell its checkpoints otherwise.
        storage.replace_text(self.config_file, config)

    def require_unfinished(self) -> None:
        """Refuse a directory that a run has finished, or that is no run's.

        Raises:
            InputError: If it is one.
        """
        # What begins with a dot was written aside by a process that was killed.
        is_used = self.path.is_dir() and any(
            not each.name.startswith(".") for each in self.path.iterdir()
        )
        if self.report_file.exists() or (is_used and not self.config_file.exists()):
            raise InputError(f"run_dir {self.home} is in use already: give another one")

    @contextmanager
    def only_process(self) -> Iterator[None]:
        """Keep other processes out, on this machine.

        Raises:
            InputError: If one is at work in the directory already.
        """
        with storage.only_process(
            self.path,
            f"run_dir {self.path} is in use: another process trains in it; wait for "
            "it, or give another one",
        ):
            yield

    @property
    def config_file(self) -> Path:
        """The resolved configuration; `--config` takes it."""
        return self.path / "config.yaml"

    @property
    def metrics_file(self) -> Path:
        """The learning curves, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def events_directory(self) -> Path:
        """The learning curves for TensorBoard."""
        return self.path / "events"

    @property
    def own_directory(self) -> Path:
        """Where the files go that each of several workers has of its own."""
        return self.restored_from / self.worker if self.restored_from else self.path

    @property
    def profile_directory(self) -> Path:
        """What TensorFlow's profiler saw, for TensorBoard."""
        return self.own_directory / "profile"

    @property
    def checkpoint_directory(self) -> Path:
        """What a stopped run goes on from, and an export takes its weights from."""
        return (self.restored_from or self.home) / "checkpoints"

    @property
    def best_weights_file(self) -> Path:
        """With early stopping, the weights to keep; otherwise it is not there."""
        return self.path / "best.weights.h5"

    @property
    def report_file(self) -> Path:
        """The report, which is written last."""
        return self.path / "report.md"

    @property
    def summary_file(self) -> Path:
        """The outcome in numbers."""
        return self.path / "summary.json"

    @property
    def measures_file(self) -> Path:
        """The measures of each held-out split."""
        return self.path / "metrics.json"

    def save_summary(self, parameters: int) -> None:
        """Write the outcome in numbers, with the memory that this process has taken."""
        peak_memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        summary = {"parameters": parameters, "peak_memory": peak_memory}
        storage.replace_text(self.summary_file, json.dumps(summary) + "\n")

    def load_summary(self) -> dict[str, Any]:
        """The outcome in numbers.

        Raises:
            InputError: If the run is not finished.
        """
        if not self.report_file.is_file():
            raise InputError(f"{self.path} is not finished: it has no report yet")
        return dict(json.loads(self.summary_file.read_text(encoding="utf-8")))

    def clear_curves(self) -> None:
        """Remove the learning curves."""
        self.metrics_file.unlink(missing_ok=True)
        shutil.rmtree(self.events_directory, ignore_errors=True)

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return dict(yaml.safe_load(self.config_file.read_text(encoding="utf-8")))

    @property
    def measures(self) -> dict[str, Any] | None:
        """The measures of each held-out split; `None` before the run has any."""
        if not self.measures_file.is_file():
            return None
        return dict(json.loads(self.measures_file.read_text(encoding="utf-8")))

    def load_config(self) -> TrainConfig:
        """The configuration that the run was made with.

        Raises:
            InputError: If this is not a run directory.
        """
        if not self.config_file.is_file():
            raise InputError(
                f"{self.path} holds no {self.config_file.name}: expected a run "
                "directory as written by `python -m tfdlrm.train`"
            )
        config_file = storage.local_copy(self.config_file)
        return parse(TrainConfig, "tfdlrm.train", ["--config", str(config_file)])


def _first_difference(there: str, now: str) -> str | None:
    """The first setting that is another one and changes what a run computes."""
    settings_there, settings_now = (
        dict(_flat(yaml.safe_load(each))) for each in (there, now)
    )
    for name in {**settings_now, **settings_there}:
        found, wanted = settings_there.get(name), settings_now.get(name)
        if found != wanted and not _changes_no_number(name, found, wanted):
            return f"{name}: {_as_yaml(found)} there, {name}: {_as_yaml(wanted)} now"
    return None


def _changes_no_number(name: str, found: Any, wanted: Any) -> bool:
    """Whether a setting changes where a run computes and writes, and not what."""
    if name == "strategy":
        return {found, wanted} <= {"default", "mirrored"}
    # A checkpoint knows its data set, wherever that lies now.
    places = ("data_dir", "run_dir", "export_dir")
    watched = ("tables", "profile_steps")
    return name in (*places, *watched) or name.startswith("checkpoints.")


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _as_yaml(value: Any) -> str:
    return "null" if value is None else str(value)
