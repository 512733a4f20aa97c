"""What is compared: models with optimizers, and files with all settings of training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfdlrm.base.arguments import Arguments
from tfdlrm.base.command_line import parse
from tfdlrm.base.errors import InputError
from tfdlrm.config import CheckpointConfig, PrepareConfig, TrainConfig

FILES = (".yaml", ".yml")


@dataclass(frozen=True)
class SettingsFile:
    """A file of settings of `tfdlrm.train`.

    Args:
        path: The file.
        config: Its settings, with defaults for those that it leaves out.
        names: The settings and sections that it has.
    """

    path: str
    config: TrainConfig
    names: frozenset[str]

    @classmethod
    def read(cls, path: str) -> "SettingsFile":
        """Read a file.

        Raises:
            InputError: If it cannot be read as such a file.
        """
        argv = ["--config", path]
        config = parse(TrainConfig, "tfdlrm.train", argv)
        settings: Sequence[Mapping[str, Any]] = Arguments.read(argv).settings
        names = (str(name).partition(".")[0] for name in settings[0])
        return cls(path, config, frozenset(names))

    @property
    def says_how(self) -> bool:
        """Whether it says how to train, not just what."""
        return "optimizer" in self.names

    def require_comparable(self) -> None:
        """Refuse settings that other models cannot have as well.

        Raises:
            InputError: If there are such.
        """
        if self.config.strategy == "multi_worker":
            raise InputError(
                f"{self.path}: strategy is multi_worker, expected default or mirrored: "
                "a comparison trains on this machine"
            )
        if self.config.init_from is not None:
            raise InputError(
                f"{self.path}: init_from is {self.config.init_from}, expected none: a "
                "comparison trains all models from nothing"
            )


@dataclass(frozen=True)
class Contender:
    """A model with an optimizer, which is trained with several seeds.

    Args:
        name: Name of the model, or of its file without the ending.
        candidates: The settings to choose from by validation rows, with the first seed.
        has_own_settings: Whether a file says how to train it.
    """

    name: str
    candidates: tuple[TrainConfig, ...]
    has_own_settings: bool = False

    @property
    def label(self) -> str:
        """Model and optimizer, as in the report."""
        return f"{self.name}, {self.candidates[0].optimizer.name}"


def name_of(model: str) -> str:
    """Return the name of a model in the report and the runs."""
    return Path(model).stem if model.endswith(FILES) else model


def in_comparison(
    config: TrainConfig, name: str, data_dir: Path, output: Path, seed: int
) -> TrainConfig:
    """Return settings of training as those of a run of a comparison.

    Args:
        config: The settings.
        name: Name of the model.
        data_dir: The data set.
        output: Directory of the comparison.
        seed: Seed of the run.
    """
    optimizer = config.optimizer
    run = f"{name}-{optimizer.name}-{optimizer.learning_rate}-{seed}"
    run_dir = output / "runs" / run
    return replace(
        config,
        data_dir=data_dir,
        raw=None,
        prepare=PrepareConfig.not_filled_in(),
        seed=seed,
        checkpoints=CheckpointConfig(keep=1),
        baselines=False,  # once for all runs
        weight_histograms=False,
        profile_steps=None,
        run_dir=run_dir,
        export_dir=run_dir / "export",
    )


def common_epochs(files: Sequence[SettingsFile]) -> int:
    """Return the number of epochs that all files have; 1 without files.

    Raises:
        InputError: If two differ, so that one model would be trained for longer.
    """
    epochs = {file.path: file.config.epochs for file in files}
    if len(set(epochs.values())) > 1:
        listed = ", ".join(f"{number} in {path}" for path, number in epochs.items())
        raise InputError(
            f"epochs is {listed}: a comparison gives each model the same passes over "
            "the rows; give --epochs N for all"
        )
    return next(iter(epochs.values()), 1)
