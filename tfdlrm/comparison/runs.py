"""What finished training runs have to tell when they stand side by side."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfdlrm.config import TrainConfig
from tfdlrm.data.schema import SPLITS, FeatureSchema
from tfdlrm.metrics.binary import measure_text
from tfdlrm.training.run_directory import RunDirectory


@dataclass(frozen=True)
class FinishedRun:
    """A finished run of `tfdlrm.train`.

    Args:
        config: Its settings.
        parameters: Number of parameters.
        peak_memory: Bytes that the process held at most.
        samples_per_second: Training rows a second, without validation and without the
            time until the curves' first point, in which functions are compiled.
        metrics: Final measures of each held-out split, by name.
        curves: Points of the learning curves, in order.
    """

    config: TrainConfig
    parameters: int
    peak_memory: int
    samples_per_second: float | None
    metrics: dict[str, dict[str, float]]
    curves: list[dict[str, Any]]

    @property
    def label(self) -> str:
        """Model and optimizer."""
        assert self.config.run_dir is not None
        optimizer = self.config.optimizer
        end = f"-{optimizer.name}-{optimizer.learning_rate}-{self.config.seed}"
        model = self.config.run_dir.name.removesuffix(end)
        return f"{model}, {optimizer.name}"

    @property
    def choice(self) -> float:
        """What a learning rate is chosen by: log loss on validation rows."""
        return self.metrics.get("validation", {}).get("log_loss", 0.0)

    @property
    def split(self) -> str:
        """The split to report on: the test rows, where there are some."""
        return "test" if "test" in self.metrics else "validation"

    def in_a_line(self) -> str:
        """The measures of each split, in words."""
        return "; ".join(
            f"{split} AUC {measure_text(values['auc'])}, "
            f"log loss {values['log_loss']:.4f}"
            for split, values in self.metrics.items()
        )


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds.

    Args:
        mean: The mean.
        deviation: The standard deviation; `None` for a single seed.
    """

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of `values`.

        Example:

        >>> Spread.of([1.0, 3.0]).mean
        2.0
        """
        several = len(values) > 1 and all(map(math.isfinite, values))
        deviation = statistics.stdev(values) if several else None
        return cls(statistics.fmean(values), deviation)

    def __format__(self, spec: str) -> str:
        if not math.isfinite(self.mean):
            return measure_text(self.mean)
        if self.deviation is None:
            return format(self.mean, spec)
        return f"{self.mean:{spec}} ± {self.deviation:{spec}}"


def read_run(directory: Path, schema: FeatureSchema) -> FinishedRun:
    """Read a finished run.

    Args:
        directory: Its directory.
        schema: Schema of the data set that it was trained on.

    Raises:
        InputError: If it is not the directory of a finished run.
    """
    run = RunDirectory(directory)
    config = run.load_config()
    summary = run.load_summary()
    metrics = run.measures or {}
    curves = run.load_curves()
    return FinishedRun(
        config=config,
        parameters=summary["parameters"],
        peak_memory=summary["peak_memory"],
        samples_per_second=_samples_per_second(curves, config, schema),
        metrics={
            split: {
                name: math.nan if value is None else value
                for name, value in metrics[split].items()
            }
            for split in SPLITS
            if split in metrics
        },
        curves=curves,
    )


def _samples_per_second(
    curves: Sequence[dict[str, Any]], config: TrainConfig, schema: FeatureSchema
) -> float | None:
    rows = schema.num_rows("train") * config.epochs
    total_steps = curves[-1]["step"]
    steps, seconds = 0, 0.0
    for i, point in enumerate(curves[1:], start=1):
        # From one point to the next, less the validation between them.
        if point["split"] == "train":
            steps += point["step"] - curves[i - 1]["step"]
            seconds += point["seconds"] - curves[i - 1]["seconds"]
    return steps / total_steps * rows / seconds if seconds > 0 else None


def not_told_apart(entries: dict[str, Spread], highest: bool) -> list[str]:
    """The best of several, and those that the spread does not tell apart from it.

    Args:
        entries: A measure of each, over seeds.
        highest: Whether more is better.

    Returns:
        Names, the best first. Without a spread nothing is told apart.

    Example:

    >>> spreads = {"a": Spread(0.80, 0.01), "b": Spread(0.79, 0.01)}
    >>> not_told_apart({**spreads, "c": Spread(0.7, 0.01)}, highest=True)
    ['a', 'b']
    """
    sign = 1 if highest else -1
    order = sorted(entries, key=lambda name: -sign * entries[name].mean)
    best = entries[order[0]]

    def apart(other: Spread) -> bool:
        if best.deviation is None or other.deviation is None:
            return False
        return abs(best.mean - other.mean) > best.deviation + other.deviation

    return [name for name in order if not apart(entries[name])]
