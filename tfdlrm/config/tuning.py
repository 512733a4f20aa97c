"""Settings of the search for settings."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError, require
from tfdlrm.config.training import TrainConfig


@dataclass(frozen=True)
class TuneConfig(TrainConfig):
    """Search for settings of `tfdlrm.train` by its validation rows, with Optuna.

    Each trial is a training run with other values of the settings in `--space`; all
    other settings are those given here, as for `tfdlrm.train`, also in its files of
    settings. Test rows are never read. If the command is stopped, the same command
    resumes it; several processes with the same command share the trials.

    Args:
        space: YAML file with the settings to search: a range such as
            `optimizer.learning_rate: {low: 1e-4, high: 1e-1, log: true}`, or a list of
            values such as `model.embedding_dim: [8, 16]`.
        trials: Number of trials in all, with those of earlier calls.
        output: Directory of the table, the picture, the best settings and the search.
        metric: Measure of the validation rows to search by.
        prune: Whether to end a trial that is worse than the median of the earlier ones
            at the same point of the validation curve.
        storage: Where Optuna keeps the search: a URL as Optuna takes them, or the path
            of a journal file; null means `study.db` in output.
        seed: Seed of the search, and of the initial weights and the order of rows.
        data_dir: Data set directory written by `pipelines.prepare`.
        run_dir: Only handed on to the best settings, as export_dir is; trials have
            directories in output.
    """

    space: Path | None = None
    trials: int = 50
    output: Path = Path("runs/tune")
    metric: Literal["log_loss", "auc"] = "log_loss"
    prune: bool = True
    storage: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        storage.require_local("output", self.output)
        if self.space is None:
            raise InputError(
                "space is missing: give --space FILE.yaml with the settings to search, "
                "such as `optimizer.learning_rate: {low: 1e-4, high: 1e-1, log: true}`"
            )
        if self.data_dir is None or self.raw is not None:
            raise InputError(
                "a search needs a prepared data set: make it with python -m "
                "pipelines.prepare, and give --data_dir alone"
            )
        require(self.trials >= 1, "trials", self.trials, ">= 1")
        require(self.storage != "", "storage", self.storage, "a URL or a path")
        expected = "default or mirrored"
        require(self.strategy != "multi_worker", "strategy", self.strategy, expected)
        profile = self.profile_steps
        require(profile is None, "profile_steps", profile, "none in a search")

    @property
    def training(self) -> TrainConfig:
        """The settings that are those of training, as given."""
        names = [setting.name for setting in fields(TrainConfig)]
        return TrainConfig(**{name: getattr(self, name) for name in names})
