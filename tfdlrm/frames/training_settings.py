"""From the parameters of a classifier to the settings of a training run."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from tfdlrm.base.errors import InputError, require
from tfdlrm.config import OptimizerConfig, PrepareConfig, TrainConfig

_MIN_FREQUENCY = 2


@dataclass(frozen=True)
class Overrides:
    """Settings that take precedence over those of a `TrainConfig`, unless `None`."""

    embedding_dim: int | None
    learning_rate: float | None
    batch_size: int | None
    epochs: int | None
    min_frequency: int | None
    early_stopping: int | None
    seed: int | None


def train_config(
    config: TrainConfig | None,
    overrides: Overrides,
    validation_fraction: float,
    log: Path,
    description: Path,
    has_days: bool = False,
) -> TrainConfig:
    """Return the settings of a run that prepares a log and trains on it.

    Args:
        config: The user's settings; `None` means those of frames.
        overrides: Settings that take precedence.
        validation_fraction: Share of the rows to hold out.
        log: The rows.
        description: Their description.
        has_days: Whether the description has the column that says what is held out.

    Raises:
        InputError: If a setting cannot be used.
    """
    if config is not None and not isinstance(config, TrainConfig):
        raise InputError(
            f"config is of type {type(config).__name__}, expected tfdlrm.TrainConfig"
        )
    base = _of_frames() if config is None else config
    for name, instead in (
        ("data_dir", "give the rows to fit"),
        ("raw", "give the rows to fit"),
        ("export_dir", "use save(directory)"),
    ):
        value = getattr(base, name)
        require(value is None, f"config.{name}", value, f"none: {instead}")
    work = log.parent
    given = {name: value for name, value in asdict(overrides).items() if value is not None}
    for name in ("batch_size", "epochs", "early_stopping", "seed"):
        if name in given:
            base = replace(base, **{name: given[name]})
    if "learning_rate" in given:
        rate = given["learning_rate"]
        base = replace(base, optimizer=replace(base.optimizer, learning_rate=rate))
    if "embedding_dim" in given:
        base = replace(base, model=_with_width(base.model, given["embedding_dim"]))
    prepare = _preparing(base.prepare, given.get("min_frequency"), validation_fraction, has_days)
    return replace(
        base,
        raw=log,
        data_dir=work / "data",
        run_dir=base.run_dir or work / "run",
        export_dir=work / "versions",
        prepare=replace(prepare, columns=description),
    )


def _of_frames() -> TrainConfig:
    return TrainConfig()


def _with_width(model: Any, embedding_dim: int) -> Any:
    if "embedding_dim" not in {field.name for field in fields(model)}:
        raise InputError(
            f"embedding_dim is {embedding_dim}, but {model.name} has no embedding "
            "vectors: leave it out"
        )
    return replace(model, embedding_dim=embedding_dim)
