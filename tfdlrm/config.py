"""Settings of training and preparing, as frozen dataclasses."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tfdlrm.errors import InputError


@dataclass(frozen=True)
class PrepareConfig:
    """How raw rows become a data set.

    Args:
        min_frequency: A categorical value seen less often than this in training rows
            gets the id of unknown values.
        days: Number of equal parts, in file order, that the rows are cut into; null
            means one part a file when there are several files, and 7 otherwise.
        validation_days: Parts, or a fraction of one, held out just before the test
            rows.
        test_days: Parts, or a fraction of one, held out at the end.
        on_bad_row: What a malformed row does: `stop` with its place, or `skip` it,
            count it and report it.
        seed: Seed of the shuffle of the training rows.
    """

    min_frequency: int = 10
    days: int | None = None
    validation_days: float = 0.5
    test_days: float = 0.5
    on_bad_row: Literal["stop", "skip"] = "stop"
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.min_frequency >= 1, "min_frequency", self.min_frequency, ">= 1")
        _require(self.days is None or self.days >= 1, "days", self.days, ">= 1")
        _require(
            self.validation_days >= 0, "validation_days", self.validation_days, ">= 0"
        )
        _require(self.test_days >= 0, "test_days", self.test_days, ">= 0")
        _require(self.seed >= 0, "seed", self.seed, ">= 0")


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of the DLRM.

    Args:
        embedding_dim: Width of every embedding vector.
        bottom_mlp_units: Widths of the hidden layers of the bottom MLP; a last layer
            of width `embedding_dim` follows them.
        top_mlp_units: Widths of the hidden layers of the top MLP; a last layer of
            width 1 follows them.
        self_interaction: Whether each vector is also multiplied with itself.
        dropout: Share of hidden top-MLP units dropped while training.
    """

    embedding_dim: int = 16
    bottom_mlp_units: tuple[int, ...] = (512, 256, 64)
    top_mlp_units: tuple[int, ...] = (512, 256)
    self_interaction: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _require(self.embedding_dim >= 1, "embedding_dim", self.embedding_dim, ">= 1")
        for name in ("bottom_mlp_units", "top_mlp_units"):
            units = getattr(self, name)
            _require(all(width >= 1 for width in units), name, units, "widths >= 1")
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer.

    Args:
        name: Which one of `tfdlrm.optimizers`.
        learning_rate: Step size.
    """

    name: Literal["sgd", "adagrad", "row_wise_adagrad", "lazy_adam"] = "adagrad"
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "> 0")


@dataclass(frozen=True)
class TrainConfig:
    """Train a DLRM, evaluate it and export it for serving.

    With neither data_dir nor raw_data_file, a small synthetic data set is made first.

    Args:
        data_dir: Data set directory written by `pipelines.prepare`; with
            raw_data_file, where the prepared data set goes.
        raw_data_file: Criteo TSV file to prepare first; what an earlier run prepared
            from it is used again.
        prepare: How raw rows become a data set.
        model: Architecture.
        optimizer: Optimizer.
        batch_size: Rows in one training step, over all devices.
        epochs: Passes over the training rows.
        seed: Seed of the initial weights and of the order of rows.
        evaluations_per_epoch: Times an epoch that the curves get a point.
        strategy: `mirrored` trains on all GPUs at once, `default` on one device.
        run_dir: Where the run's files go; null makes a new directory under `runs/`.
        export_dir: Where the next version of the SavedModel goes.
    """

    data_dir: Path | None = None
    raw_data_file: Path | None = None
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    batch_size: int = 256
    epochs: int = 1
    seed: int = 0
    evaluations_per_epoch: int = 10
    strategy: Literal["default", "mirrored"] = "default"
    run_dir: Path | None = None
    export_dir: Path = Path("saved_models/dlrm")

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "evaluations_per_epoch"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), ">= 1")
        _require(self.seed >= 0, "seed", self.seed, ">= 0")


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise InputError(f"{name} is {value}, expected {expected}")
