"""Results of finished training runs, to be compared."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfdlrm.config import TrainConfig
from tfdlrm.data.schema import SPLITS, FeatureSchema
from tfdlrm.metrics.binary import measure_text
from tfdlrm.training.run_directory import RunDirectory


@dataclass(frozen=True)
class FinishedRun:
    """A finished run of `tfdlrm.train`.

    Args:
        config: The settings of the run.
        parameters: Number of parameters.
        peak_memory: Largest memory of the process in bytes.
        samples_per_second: Training rows a second, without validation and without the
            time until the curves' first point, in which functions are compiled.
        metrics: Final measures of each held-out split, by name.
        curves: Points of the learning curves, in order.
        scores: Probabilities of the rows of `split`; `None` if they are not known.
    """

    config: TrainConfig
    parameters: int
    peak_memory: int
    samples_per_second: float | None
    metrics: dict[str, dict[str, float]]
    curves: list[dict[str, Any]]
    scores: np.ndarray | None = None

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
        """Log loss on validation rows, by which a learning rate is chosen."""
        return self.metrics.get("validation", {}).get("log_loss", 0.0)

    @property
    def split(self) -> str:
        """The split to report on: the test rows if there are any."""
        return "test" if "test" in self.metrics else "validation"

    def in_a_line(self) -> str:
        """Return the measures of each split as text."""
        return "; ".join(
            f"{split} AUC {measure_text(values['auc'])}, "
            f"log loss {values['log_loss']:.4f}"
            for split, values in self.metrics.items()
        )


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds.

    Args:
        mean: Mean of the values.
        deviation: Standard deviation; `None` for a single seed.
    """

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of `values`.

        Example:

        >>> Spread.of([1.0, 3.0]).mean
        2.0
        """
        has_deviation = len(values) > 1 and all(map(math.isfinite, values))
        deviation = statistics.stdev(values) if has_deviation else None
        return cls(statistics.fmean(values), deviation)

    def __format__(self, spec: str) -> str:
        if not math.isfinite(self.mean):
            return measure_text(self.mean)
        if self.deviation is None:
            return format(self.mean, spec)
        return f"{self.mean:{spec}} ± {self.deviation:{spec.lstrip('+')}}"


def read_run(directory: Path, schema: FeatureSchema) -> FinishedRun:
    """Read a finished run.

    Args:
        directory: Directory of the run.
        schema: Schema of the data set of its training.

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
    num_rows = schema.num_rows("train")
    rows_per_step = num_rows / -(-num_rows // config.batch_size)
    steps, seconds = 0, 0.0
    for i, point in enumerate(curves[1:], start=1):
        # The time from one point to the next, without the validation between them.
        if point["split"] == "train":
            steps += point["step"] - curves[i - 1]["step"]
            seconds += point["seconds"] - curves[i - 1]["seconds"]
    return steps * rows_per_step / seconds if seconds > 0 else None


def indistinguishable(entries: dict[str, Spread], highest: bool) -> list[str]:
    """Return the best entry, and those that the spread does not distinguish from it.

    Args:
        entries: Spread of a measure over seeds, by name.
        highest: Whether more is better.

    Returns:
        Names, the best first. Without a deviation nothing is distinguished.

    Example:

    >>> spreads = {"a": Spread(0.80, 0.01), "b": Spread(0.79, 0.01)}
    >>> indistinguishable({**spreads, "c": Spread(0.7, 0.01)}, highest=True)
    ['a', 'b']
    """
    sign = 1 if highest else -1
    order = sorted(entries, key=lambda name: -sign * entries[name].mean)
    best = entries[order[0]]

    def is_behind(spread: Spread) -> bool:
        if best.deviation is None or spread.deviation is None:
            return False
        return abs(best.mean - spread.mean) > best.deviation + spread.deviation

    return [name for name in order if not is_behind(entries[name])]
