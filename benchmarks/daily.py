"""`python -m benchmarks.daily`: learning day by day on a log that drifts."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.laboratory import machine
from benchmarks.laboratory.daily_report import RollingDays, show_days, show_times
from benchmarks.runs.daily_steps import retrain, run_here
from pipelines.synthetic import Twin, write_days
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import require
from tfdlrm.config import OptimizerConfig, PrepareConfig, RollingConfig
from tfdlrm.config.models import DLRMConfig
from tfdlrm.config.optimizers import OptimizerName
from tfdlrm.config.rolling import Contender
from tfdlrm.daily.roll import roll
from tfdlrm.daily.steps import TIMES_FILE
from tfdlrm.data.schema import FeatureSchema

COMPARED: tuple[Contender, ...] = ("cold", "frozen")


@dataclass(frozen=True)
class DailyBenchmark:
    """Learn a drifting twin of Criteo day by day, next to other ways to do it.

    For each seed it makes the days, and scores each of them with a model that goes on
    from day to day (`warm`), one of the day before alone (`cold`), one of the first day
    (`frozen`), a warm one that forgets (`forget`), and with the planted truth. With the
    first seed it also trains on all days so far, for the time that takes. Everything
    runs in this process, so that times are those of the work.

    Args:
        seeds: Seeds of the days, of the initial weights and of the order of rows.
        days: Number of days.
        rows: Rows of a day.
        drift: Drift of the planted effects; see pipelines.synthetic.
        turnover: Share of the values that leave each day.
        vocabulary_scale: Factor of Criteo Kaggle's vocabulary sizes.
        forget_days: Days after which values that were not seen are forgotten.
        retrain_days: Numbers of days to train on all days up to them; `[]` for none.
        min_frequency: Rarer values have no id.
        optimizer: Optimizer of all models.
        learning_rate: Its learning rate.
        batch_size: Rows in one training step.
        epochs: Passes over the rows of a day.
        work_dir: Directory for the days and the runs; an earlier one is removed.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    days: int = 10
    rows: int = 50_000
    drift: float = 0.2
    turnover: float = 0.05
    vocabulary_scale: float = 0.01
    forget_days: int = 3
    retrain_days: tuple[int, ...] = (2, 5, 9)
    min_frequency: int = 50
    optimizer: OptimizerName = "lazy_adam"
    learning_rate: float = 0.002
    batch_size: int = 256
    epochs: int = 1
    work_dir: Path = Path("runs/daily")

    def __post_init__(self) -> None:
        require(len(self.seeds) > 0, "seeds", self.seeds, "one or more")
        require(self.days >= 2, "days", self.days, ">= 2")
        self.twin(0)  # checks its settings
        expected = f"days before the last, {self.days}"
        are_days = all(1 <= day < self.days for day in self.retrain_days)
        require(are_days, "retrain_days", self.retrain_days, expected)

    def twin(self, seed: int) -> Twin:
        """Return the settings of the days of a seed."""
        return Twin(
            self.rows * self.days,
            seed,
            self.vocabulary_scale,
            self.days,
            self.drift,
            self.turnover,
        )

    def rolling(self, seed: int, logs: Sequence[Path], folder: Path) -> RollingConfig:
        """Return the settings of a rolling run."""
        return RollingConfig(
            raw=tuple(logs),
            output=folder / "rolling",
            export_dir=folder / "models",
            compare=COMPARED,
            prepare=PrepareConfig(min_frequency=self.min_frequency),
            model=DLRMConfig(
                embedding_dim=8, bottom_mlp_units=(32,), top_mlp_units=(64, 32)
            ),
            optimizer=OptimizerConfig(self.optimizer, self.learning_rate),
            batch_size=self.batch_size,
            epochs=self.epochs,
            evaluations_per_epoch=1,
            seed=seed,
        )


def measure(command: DailyBenchmark, seed: int) -> RollingDays:
    """Make the days of a seed, and learn them with and without forgetting."""
    folder = command.work_dir / f"seed-{seed}"
    logs = [
        folder / f"day_{day:0{len(str(command.days))}d}.txt"
        for day in range(1, command.days + 1)
    ]
    truth = write_days(folder / "day_{day}.txt", command.twin(seed))
    config = command.rolling(seed, logs, folder / "compared")
    roll(config, run_here)
    forgetting = replace(
        command.rolling(seed, logs, folder / "forgetting"),
        compare=(),
        forget_days=command.forget_days,
    )
    roll(forgetting, run_here)
    days = []
    for measures, forgotten, best in zip(
        _report(config), _report(forgetting), truth, strict=True
    ):
        named = {name: measures.get(name) for name in ("warm", *COMPARED)}
        days.append({**named, "forget": forgotten.get("warm"), "truth": best})
    retrained = {}
    if seed == command.seeds[0]:
        for day in command.retrain_days:
            retrained[day] = retrain(
                config, logs[:day], logs[day], folder / f"all-{day}"
            )
    return RollingDays(
        days=days,
        seconds=_seconds(config),
        seconds_forgetting=_seconds(forgetting),
        ids=_num_ids(config),
        ids_forgetting=_num_ids(forgetting),
        retrained=retrained,
    )


def _report(config: RollingConfig) -> list[Mapping[str, Any]]:
    contents = json.loads((config.output / "report.json").read_bytes())
    days: list[Mapping[str, Any]] = contents["days"]
    return days


def _seconds(config: RollingConfig) -> list[float]:
    """Return the time of preparing and training of each day, by warm start."""
    seconds: dict[str, float] = {}
    for line in (config.output / TIMES_FILE).read_text("utf-8").splitlines():
        step = json.loads(line)
        if step["step"] in ("prepare", "train"):
            seconds[step["day"]] = seconds.get(step["day"], 0.0) + step["seconds"]
    return list(seconds.values())


def _num_ids(config: RollingConfig) -> list[int]:
    folders = sorted((config.output / "days").iterdir())
    return [
        sum(FeatureSchema.load(folder / "data").vocabulary_sizes) for folder in folders
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure each seed, and print the tables."""
    command = parse(DailyBenchmark, "benchmarks.daily", argv)
    shutil.rmtree(command.work_dir, ignore_errors=True)
    seeds = [measure(command, seed) for seed in command.seeds]
    print(f"## Day by day\n\n{machine.describe()}\n")
    print(show_days(seeds))
    print(f"\n### Time and size, seed {command.seeds[0]}\n")
    print(show_times(seeds[0]))


if __name__ == "__main__":
    run_command(main)
