"""The directory of one training run: what is in it and how it is read back."""

import hashlib
import json
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tfdlrm.base import local_copies, storage
from tfdlrm.base.checksums import file_sha256, seal, unseal
from tfdlrm.base.command_line import parse, to_yaml
from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig
from tfdlrm.config.cluster import Cluster
from tfdlrm.training.run_settings import (
    CONFIG_FILE,
    COPY_FILE,
    copied_settings,
    whole_settings,
    write_settings,
)

REPORT_FILE = "report.md"


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
            with local_copies.mirrored(run.path, "checkpoints", REPORT_FILE) as local:
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
        """Yield a temporary directory, for workers whose chief writes the run's files.

        Args:
            config: The run's settings; its checkpoints are read.

        Yields:
            The directory.
        """
        with TemporaryDirectory(prefix="tfdlrm-worker-") as path:
            run_dir = config.run_dir and storage.at(config.run_dir)
            worker = f"worker-{Cluster.from_environment().index}"
            yield cls(Path(path), restored_from=run_dir, worker=worker)

    def _take(self, config: str) -> None:
        """Write the settings into a new directory, or compare them with saved ones."""
        self.require_unfinished()
        self._remove_remains()
        settings = self._settings_there()
        difference = settings and _first_difference(settings, yaml.safe_load(config))
        if difference:
            raise InputError(
                f"run_dir {self.home} holds an unfinished run with other settings: "
                f"{difference}; give another one, or go on with --config "
                f"{self.home / self.config_file.name}"
            )
        # What is there may go on elsewhere, and tell its checkpoints otherwise.
        write_settings(self.path, config)

    def _settings_there(self) -> dict[str, Any] | None:
        """Return the settings of the unfinished run; `None` if there is none.

        Raises:
            InputError: If they are damaged, and there are checkpoints of them.
        """
        if not self._has_settings():
            return None
        try:
            return self._whole_settings()
        except InputError as error:
            if any(self.checkpoint_directory.glob("step-*")):
                raise
            print(f"{error}; since there is no checkpoint, the run begins again")
            return None

    def _whole_settings(self) -> dict[str, Any]:
        """Return the settings, and print a line where they are those of the copy."""
        settings = whole_settings(self.path)
        if not self.config_file.exists():
            print(f"{self.config_file} is missing: {COPY_FILE} beside it stands in")
        return settings

    def _has_settings(self) -> bool:
        return self.config_file.exists() or (self.path / COPY_FILE).exists()

    def _remove_remains(self) -> None:
        """Remove the summary, and the temporary files that a killed process left."""
        for path in self.path.glob(".*partial*"):
            if path.is_file():
                path.unlink()
        self.summary_file.unlink(missing_ok=True)

    def require_unfinished(self) -> None:
        """Refuse a directory that a run has finished, or that is no run's.

        Raises:
            InputError: If it is one.
        """
        # What begins with a dot was written aside by a process that was killed.
        is_used = self.path.is_dir() and any(
            not path.name.startswith(".") for path in self.path.iterdir()
        )
        if self.report_file.exists():
            raise InputError(
                f"run_dir {self.home} is in use already: its run is finished, with "
                f"{self._results()}; give another one to train again"
            )
        if is_used and not self._has_settings():
            raise InputError(f"run_dir {self.home} is in use already: give another one")

    def _results(self) -> str:
        """Describe the results of a finished run."""
        results = [f"the report {self.home / REPORT_FILE}"]
        with suppress(InputError):
            if model := self.load_summary().get("model"):
                results.append(f"the model {model}")
            for split, measures in (self.measures or {}).items():
                numbers = [
                    f"{name} {measures[key]:.4f}"
                    for key, name in (("auc", "AUC"), ("log_loss", "log loss"))
                    if isinstance(measures.get(key), float)
                ]
                results += [f"{split} {', '.join(numbers)}"] if numbers else []
        return ", ".join(results)

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
        return self.path / CONFIG_FILE

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
        return self.path / REPORT_FILE

    @property
    def summary_file(self) -> Path:
        """Return the results in numbers."""
        return self.path / "summary.json"

    @property
    def measures_file(self) -> Path:
        """The measures of each held-out split."""
        return self.path / "metrics.json"

    def save_summary(self, parameters: int, model: Path) -> None:
        """Write the outcome in numbers, with the memory that this process has taken.

        Args:
            parameters: Of the model.
            model: The version that it was exported as.
        """
        files = [
            path for path in (self.metrics_file, self.measures_file) if path.is_file()
        ]
        summary = {
            "parameters": parameters,
            "peak_memory": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            "model": str(model),
            "checksums": {path.name: file_sha256(path) for path in files},
        }
        storage.replace_text(self.summary_file, seal(summary) + "\n")

    def load_summary(self) -> dict[str, Any]:
        """Return the results in numbers.

        Raises:
            InputError: If the run is not finished, or they are damaged.
        """
        if not self.report_file.is_file():
            raise InputError(f"{self.path} is not finished: it has no report yet")
        return self._summary()

    def _summary(self) -> dict[str, Any]:
        try:
            return unseal(self.summary_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _damaged(self.summary_file, str(error)) from None

    def _read(self, path: Path) -> str:
        """Read a file, and compare it with its checksum in the summary, if it has one.

        Raises:
            InputError: If it cannot be read, or was changed since it was written.
        """
        checksums = {}
        if self.summary_file.is_file():
            checksums = self._summary().get("checksums", {})
        try:
            contents = path.read_bytes()
            checksum = hashlib.sha256(contents).hexdigest()
            expected = checksums.get(path.name, checksum)
            if checksum != expected:
                raise _damaged(path, f"its SHA-256 is {checksum}, expected {expected}")
            return contents.decode()
        except (OSError, UnicodeDecodeError) as error:
            raise _damaged(path, str(error)) from None

    def load_curves(self) -> list[dict[str, Any]]:
        """Return the points of the learning curves, in order.

        Raises:
            InputError: If they are damaged.
        """
        lines = self._read(self.metrics_file).splitlines()
        try:
            return [dict(json.loads(line)) for line in lines]
        except (ValueError, TypeError) as error:
            raise _damaged(self.metrics_file, str(error)) from None

    def clear_curves(self) -> None:
        """Remove the learning curves."""
        self.metrics_file.unlink(missing_ok=True)
        shutil.rmtree(self.events_directory, ignore_errors=True)

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return whole_settings(self.path)

    @property
    def measures(self) -> dict[str, Any] | None:
        """The measures of each held-out split; `None` before the run has any."""
        if not self.measures_file.is_file():
            return None
        try:
            return dict(json.loads(self._read(self.measures_file)))
        except (ValueError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise _damaged(self.measures_file, str(error)) from None

    def load_config(self) -> TrainConfig:
        """Return the configuration of the run.

        Raises:
            InputError: If this is not a run directory, or they are damaged.
        """
        if not self._has_settings():
            raise InputError(
                f"{self.path} holds no {self.config_file.name}: expected a run "
                "directory as written by `python -m tfdlrm.train`"
            )
        settings = self._whole_settings()
        changed = _first_difference(copied_settings(self.path) or settings, settings)
        if changed:
            print(f"{self.config_file} was changed since its run began: {changed}")
        with TemporaryDirectory(prefix="tfdlrm-") as folder:
            file = Path(folder) / CONFIG_FILE
            file.write_text(yaml.safe_dump(settings), encoding="utf-8")
            return parse(TrainConfig, "tfdlrm.train", ["--config", str(file)])


def _damaged(path: Path, reason: str) -> InputError:
    reason = reason.partition("\n")[0]
    return InputError(f"{path} is damaged ({reason}): put back a copy, or train again")


def _first_difference(saved: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Return the first setting that differs and changes what a run computes."""
    settings_there, settings_now = dict(_flat(saved)), dict(_flat(now))
    for name in {**settings_now, **settings_there}:
        old_value, new_value = settings_there.get(name), settings_now.get(name)
        if old_value != new_value and not _changes_no_number(
            name, old_value, new_value
        ):
            old, new = _as_yaml(old_value), _as_yaml(new_value)
            return f"{name}: {old} there, {name}: {new} now"
    return None


def _changes_no_number(name: str, old_value: Any, new_value: Any) -> bool:
    """Whether a setting changes where a run computes and writes, and not what."""
    if name == "strategy":
        return {old_value, new_value} <= {"default", "mirrored"}
    # A checkpoint knows its data set, wherever that lies now.
    directories = ("data_dir", "run_dir", "export_dir")
    watched = ("tables", "profile_steps")
    return name in (*directories, *watched) or name.startswith("checkpoints.")


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _as_yaml(value: Any) -> str:
    return "null" if value is None else str(value)
