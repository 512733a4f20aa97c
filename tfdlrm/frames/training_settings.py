"""From the parameters of a classifier to the settings of a training run."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from tfdlrm.base.errors import InputError, require
from tfdlrm.config import (
    EarlyStoppingConfig,
    PlateauConfig,
    PrepareConfig,
    TrainConfig,
)

_DEFAULTS = TrainConfig(batch_size=64)

_MIN_STEPS = 100
_MAX_EPOCHS = 20

_MIN_FREQUENCY = 2
"""With 1, no row of training has the id of unknown values, which stays untrained."""


@dataclass(frozen=True)
class Overrides:
    """Settings that take precedence over those of a `TrainConfig`, unless `None`."""

    embedding_dim: int | None
    learning_rate: float | None
    batch_size: int | None
    epochs: int | None
    min_frequency: int | None
    early_stopping: int | EarlyStoppingConfig | None
    seed: int | None

    def of_training(self) -> dict[str, Any]:
        """Return those that are settings of training itself, by name."""
        names = ("batch_size", "epochs", "early_stopping", "seed")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


def train_config(
    config: TrainConfig | None,
    overrides: Overrides,
    validation_fraction: float,
    log: Path,
    description: Path,
    num_rows: int,
    has_days: bool = False,
) -> TrainConfig:
    """Return the settings of a run that prepares a log and trains on it.

    Args:
        config: The user's settings; `None` means those of frames.
        overrides: Settings that take precedence.
        validation_fraction: Share of the rows to hold out.
        log: The rows.
        description: Their description.
        num_rows: Number of rows.
        has_days: Whether the description has the column that says what is held out.

    Raises:
        InputError: If a setting cannot be used.
    """
    if config is not None and not isinstance(config, TrainConfig):
        raise InputError(
            f"config is of type {type(config).__name__}, expected tfdlrm.TrainConfig"
        )
    base = _DEFAULTS if config is None else config
    base = replace(base, **overrides.of_training())
    if config is None and overrides.epochs is None:
        base = replace(base, epochs=_epochs(num_rows, base.batch_size))
    for name, instead in (
        ("data_dir", "give the rows to fit"),
        ("raw", "give the rows to fit"),
        ("export_dir", "use save(directory)"),
    ):
        value = getattr(base, name)
        require(value is None, f"config.{name}", value, f"none: {instead}")
    work = log.parent
    model, optimizer = base.model, base.optimizer
    if overrides.embedding_dim is not None:
        model = _with_width(model, overrides.embedding_dim)
    if overrides.learning_rate is not None:
        optimizer = replace(optimizer, learning_rate=overrides.learning_rate)
    prepare = _preparing(base.prepare, overrides, validation_fraction, has_days)
    if base.early_stopping and not prepare.validation_days:
        raise InputError(
            f"early_stopping is {base.early_stopping.patience}, but no rows are held "
            "out to watch: give validation_fraction, such as 0.1"
        )
    if isinstance(optimizer.schedule, PlateauConfig) and not prepare.validation_days:
        raise InputError(
            "optimizer.schedule is plateau, but no rows are held out to watch: give "
            "validation_fraction, such as 0.1"
        )
    return replace(
        base,
        model=model,
        optimizer=optimizer,
        raw=log,
        data_dir=work / "DataFrame",  # the name of the data in the model's results
        run_dir=base.run_dir or work / "run",
        export_dir=work / "versions",
        prepare=replace(prepare, columns=description),
    )


def _epochs(num_rows: int, batch_size: int) -> int:
    """Return how often few rows are passed over: one epoch of many is enough.

    Example:

    >>> [_epochs(num_rows, 64) for num_rows in (100, 2_000, 10_000)]
    [20, 4, 1]
    """
    steps = -(-num_rows // batch_size)
    return max(1, min(_MAX_EPOCHS, -(-_MIN_STEPS // max(steps, 1))))


def _preparing(
    prepare: PrepareConfig,
    overrides: Overrides,
    validation_fraction: float,
    has_days: bool,
) -> PrepareConfig:
    """Return the settings of preparing: all rows train, except those held out."""
    expected = "none: give columns to the classifier itself"
    require(
        prepare.columns is None, "config.prepare.columns", prepare.columns, expected
    )
    is_share = 0 <= validation_fraction < 1
    require(is_share, "validation_fraction", validation_fraction, ">= 0 and < 1")
    min_frequency = overrides.min_frequency
    is_own = prepare != PrepareConfig()
    if is_own or has_days:
        expected = "0 where config.prepare or a split in columns says what is held out"
        require(
            validation_fraction == 0,
            "validation_fraction",
            validation_fraction,
            expected,
        )
    if is_own:
        if min_frequency is None:
            return prepare
        return replace(prepare, min_frequency=min_frequency)
    return PrepareConfig(
        min_frequency=_MIN_FREQUENCY if min_frequency is None else min_frequency,
        days=None if has_days else 1,
        validation_days=validation_fraction,
        test_days=0,
    )


def _with_width(model: Any, embedding_dim: int) -> Any:
    if "embedding_dim" not in {field.name for field in fields(model)}:
        raise InputError(
            f"embedding_dim is {embedding_dim}, but {model.name} has no embedding "
            "vectors: leave it out"
        )
    return replace(model, embedding_dim=embedding_dim)
