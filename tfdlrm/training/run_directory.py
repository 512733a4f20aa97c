"""The directory of one training run: its files, and how they are read again."""

import hashlib
import json
import resource
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tfdlrm.base import directories, local_copies, storage
from tfdlrm.base.checksums import file_sha256, seal, unseal
from tfdlrm.base.command_line import to_yaml
from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig
from tfdlrm.config.cluster import Cluster
from tfdlrm.config.plain_settings import train_config_of
from tfdlrm.training.run_files import REPORT_FILE, RunFiles
from tfdlrm.training.run_settings import (
    COPY_FILE,
    copied_settings,
    first_difference,
    whole_settings,
    write_settings,
)


class RunDirectory(RunFiles):
    """A run on disk, held by one process, with its settings and results."""

    @classmethod
    @contextmanager
    def opened(
        cls, config: TrainConfig, prepared: Mapping[str, Any] | None = None
    ) -> Iterator["RunDirectory"]:
        """Hold the directory `config.run_dir`, or a new one under `runs/`.

        Args:
            config: The run's settings.
            prepared: The settings by which its data set was prepared, which are written
                down instead of `config.prepare`.

        Yields:
            The directory, new or of an unfinished run with the same settings.

        Raises:
            InputError: If it holds another or a finished run, or is in use.
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
                copy._take(_used_settings(config, run.path, prepared))
                directories.copy_tree(local, run.path)
                yield copy
            return
        directories.make_directory("run_dir", run.path)
        with run.only_process():
            run._take(_used_settings(config, run.path, prepared))
            yield run

    @classmethod
    @contextmanager
    def of_another_worker(cls, config: TrainConfig) -> Iterator["RunDirectory"]:
        """Yield a temporary directory for a worker whose chief writes the run's files.

        Args:
            config: The run's settings; checkpoints are read from its `run_dir`.

        Yields:
            The directory.
        """
        with TemporaryDirectory(prefix="tfdlrm-worker-") as path:
            chief_directory = config.run_dir and storage.at(config.run_dir)
            worker = f"worker-{Cluster.from_environment().index}"
            yield cls(Path(path), restored_from=chief_directory, worker=worker)

    def _take(self, used: dict[str, Any]) -> None:
        """Write the settings into a new directory, or compare them with its own."""
        self.require_unfinished()
        self._remove_remains()
        settings = self._unfinished_settings()
        # A checkpoint identifies its data set, however that was prepared.
        difference = settings and first_difference(
            {**_complete(settings), "prepare": None}, {**used, "prepare": None}
        )
        if difference:
            raise InputError(
                f"run_dir {self.home} holds an unfinished run with other settings: "
                f"{difference}; give another one, or go on with --config "
                f"{self.home / self.config_file.name}"
            )
        # Settings that change no number, such as those of checkpoints, may differ.
        write_settings(self.path, yaml.safe_dump(used, sort_keys=False))

    def _unfinished_settings(self) -> dict[str, Any] | None:
        """Return the settings of the unfinished run; `None` without one to resume.

        Raises:
            InputError: If they are damaged, and there are checkpoints.
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
        """Return the settings, and print a line if they come from the copy."""
        settings = whole_settings(self.path)
        if not self.config_file.exists():
            print(
                f"{self.config_file} is missing: {COPY_FILE} next to it is used instead"
            )
        return settings

    def _has_settings(self) -> bool:
        return self.config_file.exists() or (self.path / COPY_FILE).exists()

    def _remove_remains(self) -> None:
        """Remove the temporary files of a killed process, and its summary."""
        storage.remove_temporary_files(self.path, below=False)
        self.summary_file.unlink(missing_ok=True)

    def require_unfinished(self) -> None:
        """Refuse a directory of a finished run, or with other files.

        Raises:
            InputError: If it is such a directory.
        """
        # What begins with a dot is a temporary file of a process that was killed.
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
        """Return the results of a finished run, in words."""
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
        """Keep other processes of this machine out of the directory.

        Raises:
            InputError: If another process uses it already.
        """
        with directories.only_process(
            self.path,
            f"run_dir {self.path} is in use: another process trains in it; wait for "
            "it, or give another one",
        ):
            yield

    def save_summary(
        self, parameters: int, model: Path, progress: Mapping[str, Any] | None = None
    ) -> None:
        """Write the results in numbers, with the peak memory of this process.

        Args:
            parameters: Number of weights of the model.
            model: The exported version.
            progress: The steps done, and the one whose weights are kept.
        """
        files = [
            path for path in (self.metrics_file, self.measures_file) if path.is_file()
        ]
        summary = {
            "parameters": parameters,
            **(progress or {}),
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
        """Read a file and compare it with its checksum in the summary, if there is one.

        Raises:
            InputError: If it cannot be read, or was changed since it was written.
        """
        checksums = {}
        if self.summary_file.is_file():
            checksums = self._summary().get("checksums", {})
        try:
            contents = path.read_bytes()
            sha256 = hashlib.sha256(contents).hexdigest()
            expected = checksums.get(path.name, sha256)
            if sha256 != expected:
                raise _damaged(path, f"its SHA-256 is {sha256}, expected {expected}")
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
        """Remove the learning curves, and the events that come from them."""
        self.metrics_file.unlink(missing_ok=True)
        for path in self.events_directory.glob("*"):
            if path.is_file():
                path.unlink(missing_ok=True)
            elif path != self.weight_events_directory:
                shutil.rmtree(path, ignore_errors=True)

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return whole_settings(self.path)

    @property
    def versions_dir(self) -> Path | None:
        """Where the run exports to; `None` if an earlier release did not note it."""
        if not self._has_settings():
            return None
        with suppress(InputError):
            if export_dir := whole_settings(self.path).get("export_dir"):
                return storage.at(export_dir)
            return storage.at(self.load_summary()["model"]).parent
        return None

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
            InputError: If this is not a run directory, or the settings are damaged.
        """
        if not self._has_settings():
            raise InputError(
                f"{self.path} holds no {self.config_file.name}: expected a run "
                "directory as written by `python -m tfdlrm.train`"
            )
        settings = self._whole_settings()
        change = first_difference(copied_settings(self.path) or settings, settings)
        if change:
            print(f"{self.config_file} was changed since its run began: {change}")
        return train_config_of(settings)


def _used_settings(
    config: TrainConfig, run_dir: Path, prepared: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the settings to write down: those that the run uses."""
    settings: dict[str, Any] = yaml.safe_load(to_yaml(replace(config, run_dir=run_dir)))
    return settings | {"prepare": dict(prepared or {})}


def _complete(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run with those that its release did not have."""
    others = {name: value for name, value in settings.items() if name != "prepare"}
    try:
        return dict(yaml.safe_load(to_yaml(train_config_of(others))))
    except InputError:  # they are compared as they are
        return dict(settings)


def _damaged(path: Path, reason: str) -> InputError:
    reason = reason.partition("\n")[0]
    return InputError(f"{path} is damaged ({reason}): put back a copy, or train again")
