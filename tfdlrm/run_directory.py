"""The directory of one training run: what is in it and how it is read back."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from tfdlrm.command_line import parse, to_yaml
from tfdlrm.config import TrainConfig
from tfdlrm.errors import InputError


@dataclass(frozen=True)
class RunDirectory:
    """Files of one run.

    Args:
        path: The directory.
    """

    path: Path

    @classmethod
    def create(cls, config: TrainConfig) -> "RunDirectory":
        """Make the directory of `config.run_dir`, or a new one under `runs/`.

        Raises:
            InputError: If it holds another run's files.
        """
        name = time.strftime("dlrm-%Y%m%d-%H%M%S")
        path = config.run_dir or Path("runs") / name
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise InputError(f"run_dir {path} is in use already: give another one")
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path)
        resolved = replace(config, run_dir=path)
        run.config_file.write_text(to_yaml(resolved), encoding="utf-8")
        return run

    @property
    def config_file(self) -> Path:
        """The resolved configuration; `--config` takes it."""
        return self.path / "config.yaml"

    @property
    def metrics_file(self) -> Path:
        """The learning curves, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint_prefix(self) -> Path:
        """What the names of the last checkpoint's files begin with."""
        return self.path / "checkpoints" / "final"

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
        return parse(TrainConfig, "tfdlrm.train", ["--config", str(self.config_file)])
