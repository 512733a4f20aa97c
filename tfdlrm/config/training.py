"""Settings of training, as frozen dataclasses."""

from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

from tfdlrm.base.errors import InputError, require
from tfdlrm.config.early_stopping import EarlyStoppingConfig
from tfdlrm.config.models import (
    DLRMConfig,
    ModelConfig,
    require_rows_to_normalize,
)
from tfdlrm.config.optimizers import OptimizerConfig
from tfdlrm.config.preparing import PrepareConfig
from tfdlrm.config.values import take_values


@dataclass(frozen=True)
class CheckpointConfig:
    """When a run writes a checkpoint, from which the same command resumes it.

    Args:
        minutes: Minutes between checkpoints; null writes none by the clock.
        steps: Training steps between checkpoints; null writes none by their number.
        keep: Number of newest checkpoints that are kept.
    """

    minutes: float | None = 10.0
    steps: int | None = None
    keep: int = 2

    def __post_init__(self) -> None:
        take_values(self)
        minutes, steps = self.minutes, self.steps
        require(minutes is None or minutes > 0, "minutes", minutes, "> 0")
        require(steps is None or steps >= 1, "steps", steps, ">= 1")
        require(self.keep >= 1, "keep", self.keep, ">= 1")


def data_set_name(raw: Path | None) -> str:
    """Return the name of the data set that is made of a log, if no other is given.

    Example:

    >>> data_set_name(Path("logs/clicks.csv.gz"))
    'clicks'
    """
    return _name(raw).partition(".")[0]


def _name(path: Path | None) -> str:
    """Return the name of a directory or file, which may be given as `.` or `..`."""
    if path is None:
        return ""
    return path.resolve().name if path.name in ("", "..") else path.name


@dataclass(frozen=True)
class TrainConfig:
    """Train a model, evaluate it and export it for serving.

    With neither data_dir nor raw, a small synthetic data set is made first. With
    `--stream kafka://HOST:PORT/TOPIC`, a trained model learns from a click stream
    instead; add that option to --help for its settings.

    Args:
        data_dir: Data set directory written by `pipelines.prepare`; with raw, the
            directory to write it to.
        raw: Raw log to prepare first, in Criteo's format or that of prepare.columns; a
            data set that an earlier run prepared from it is used again.
        prepare: How raw rows become a data set.
        model: Model and its architecture.
        optimizer: Optimizer.
        batch_size: Rows in one training step, over all devices.
        epochs: Passes over the training rows.
        seed: Seed of the initial weights and of the order of rows.
        ensemble: Number of models with the same settings that are trained side by side,
            each with its own initial weights and order of rows, and exported as one
            whose logit is the mean of theirs; 1 means no ensemble.
        evaluations_per_epoch: Points of the curves in each epoch.
        early_stopping: When training ends before its last epoch; a whole number is
            its patience, and null trains all epochs.
        strategy: `mirrored` trains on all GPUs at once, `default` on one device;
            `multi_worker` on all GPUs of several machines, each of which runs the same
            command with its own `TF_CONFIG`.
        tables: Placement of embedding tables: `replicated` on every device that trains;
            `sharded`, with strategy mirrored, each row on one of them, so that each
            holds its share; `host` in the memory of the machine, not of its GPUs.
        precision: `mixed_bfloat16` and `mixed_float16` compute in 16 bits and keep
            weights in 32; the first is for CPUs that have the instructions, the second,
            whose loss is scaled, for GPUs.
        tf32: Whether GPUs may multiply float32 matrices as TF32, with 10 bits of
            mantissa instead of 23, which is faster; CPUs never do.
        steps_per_execution: Training steps in one call of the compiled function; more
            are faster with small batches.
        allow_one_class: Whether to train although all training rows, or all rows of
            another split, have the same label, so that nothing can be learned or
            measured.
        baselines: Whether to measure simple models on the same rows next to this one:
            the click rate of all rows, that of each value of the best column, and a
            logistic regression.
        profile_steps: The first and the last training step of TensorFlow's profile,
            which goes to `profile` in the run's directory.
        weight_histograms: Whether TensorBoard also gets histograms of all weights, at
            each point of the curves.
        checkpoints: When to write checkpoints.
        init_from: What to begin with instead of random weights: the directory of a run,
            of one of its checkpoints, or of an exported model. The data set must be
            that of these weights or extend it; a run's optimizer goes on where it was.
        run_dir: Directory of the run's files; null makes a new one under `runs/`. A run
            that was stopped resumes from its last checkpoint.
        export_dir: Directory of the SavedModel's versions; null means `saved_models/`
            and the name of run_dir, or else of data_dir or raw; without these, of the
            model.
        allow_other_columns: Whether to export although the newest version in export_dir
            has other columns, so that its clients could not use this model.
    """

    data_dir: Path | None = None
    raw: Path | None = None
    prepare: PrepareConfig = field(default_factory=PrepareConfig.not_filled_in)
    model: ModelConfig = field(default_factory=DLRMConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    batch_size: int = 256
    epochs: int = 1
    seed: int = 0
    ensemble: int = 1
    evaluations_per_epoch: int = 10
    early_stopping: EarlyStoppingConfig | None = None
    strategy: Literal["default", "mirrored", "multi_worker"] = "default"
    tables: Literal["replicated", "sharded", "host"] = "replicated"
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    tf32: bool = False
    steps_per_execution: int = 1
    allow_one_class: bool = False
    baselines: bool = True
    profile_steps: tuple[int, int] | None = None
    weight_histograms: bool = False
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    init_from: Path | None = None
    run_dir: Path | None = None
    export_dir: Path | None = None
    allow_other_columns: bool = False

    def __post_init__(self) -> None:
        self._take_patience()
        take_values(self)
        object.__setattr__(self, "prepare", replace(self.prepare))  # filled in
        for name in (
            "batch_size",
            "epochs",
            "evaluations_per_epoch",
            "steps_per_execution",
            "ensemble",
        ):
            require(getattr(self, name) >= 1, name, getattr(self, name), ">= 1")
        require_rows_to_normalize(self.model, self.batch_size)
        clip_norm = self.optimizer.dense.clip_norm
        require(
            clip_norm is None or self.ensemble == 1,
            "optimizer.dense.clip_norm",
            clip_norm,
            "null with an ensemble, whose members would be clipped together",
        )
        require(self.seed >= 0, "seed", self.seed, ">= 0")
        if self.profile_steps is not None:
            first_step, last_step = self.profile_steps
            expected = "two steps, the first >= 1 and the last no smaller"
            steps = [first_step, last_step]
            require(1 <= first_step <= last_step, "profile_steps", steps, expected)
        self._check_distribution()

    def _take_patience(self) -> None:
        """Take a whole number as the patience of early stopping."""
        patience: Any = self.early_stopping
        if isinstance(patience, Integral) and not isinstance(patience, bool):
            number = int(patience)
            require(number >= 1, "early_stopping", number, "null or >= 1")
            stopping = EarlyStoppingConfig(number)
            object.__setattr__(self, "early_stopping", stopping)
        elif not isinstance(patience, EarlyStoppingConfig | None):
            raise InputError(
                f"early_stopping is {patience!r}, expected a whole number, "
                "EarlyStoppingConfig(…) or None"
            )

    @property
    def versions_dir(self) -> Path:
        """The directory of the model's versions: `export_dir` or its default."""
        names = [_name(self.run_dir), _name(self.data_dir), data_set_name(self.raw)]
        name = next(filter(None, names), self.model.name)
        return self.export_dir or Path("saved_models") / name

    def _check_distribution(self) -> None:
        """Refuse settings that do not work on several devices or machines."""
        placements = {
            "default": ("replicated", "host"),
            "mirrored": ("replicated", "sharded", "host"),
            "multi_worker": ("replicated",),
        }[self.strategy]
        expected = f"{' or '.join(placements)} with strategy {self.strategy}"
        require(self.tables in placements, "tables", self.tables, expected)
        if self.early_stopping is not None:
            require(
                self.tables == "replicated" and self.strategy != "multi_worker",
                "early_stopping",
                self.early_stopping.patience,
                "null with strategy multi_worker and with tables that are not "
                "replicated",
            )
        if self.strategy != "multi_worker":
            return
        if self.data_dir is None or self.raw is not None:
            raise InputError(
                "strategy multi_worker trains on a prepared data set: make it first "
                "with python -m pipelines.prepare, and give --data_dir alone"
            )
        if self.run_dir is None:
            raise InputError(
                "strategy multi_worker needs a run_dir that all workers share: give "
                "--run_dir"
            )
