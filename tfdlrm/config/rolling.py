"""Settings of learning day by day."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError, require, require_one
from tfdlrm.config.preparing import PrepareConfig
from tfdlrm.config.schedules import PlateauConfig
from tfdlrm.config.training import TrainConfig
from tfdlrm.data.dialects import DialectTraits, traits_of

Contender = Literal["cold", "frozen"]
"""A model that is scored next to the one that learns day by day."""

_OWN_SETTINGS = ("data_dir", "run_dir", "init_from")
_HELD_OUT = ("validation_days", "test_days")


@dataclass(frozen=True)
class RollingConfig(TrainConfig):
    """Score each day with the model of the days before, and then learn from it.

    Settings of training are those of `tfdlrm.train`, also in its files of settings;
    those of preparing are those of `pipelines.prepare`, with `prepare.` before them. A
    day's rows are all learned from, unless prepare.validation_days or prepare.test_days
    differ from their defaults. If the command is stopped, the same command resumes it;
    with more days at the end it learns from these.

    Args:
        raw: Raw files or folders with labels, one a day, in order of time; or a single
            log whose description of columns has a `split`, by which it is cut into its
            days.
        data_dirs: Data set directories instead of raw files, one a day, each of which
            extends the one before.
        output: Directory of the report, the data sets and the runs.
        compare: Models to score next to it: `cold` is trained from nothing on the day
            before; `frozen` stopped after the first day.
        keep: Number of newest days of which the exported version, the data set and the
            run stay; null keeps all.
        forget_days: Values that were not seen in so many days lose their ids; null
            keeps all ids.
        export_dir: Directory to which each day's model is exported as the next version;
            null means `saved_models/` and the name of output.
    """

    raw: tuple[Path, ...] | None = None  # type: ignore[assignment]
    data_dirs: tuple[Path, ...] | None = None
    output: Path = Path("runs/rolling")
    compare: tuple[Contender, ...] = ()
    keep: int | None = None
    forget_days: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        storage.require_local("output", self.output)
        for name in ("raw", "data_dirs"):
            paths = getattr(self, name)
            if paths is not None:
                located = tuple(map(storage.at, paths))
                require(len(set(located)) == len(located), name, paths, "each once")
                object.__setattr__(self, name, located)
        expected = "raw logs, or data set directories, one a day"
        require_one(expected, raw=self.raw, data_dirs=self.data_dirs)
        for name in _OWN_SETTINGS:
            value = getattr(self, name, None)
            expected = "none: each day has its own"
            require(value is None, name, value, expected)
        expected = "default or mirrored"
        require(self.strategy != "multi_worker", "strategy", self.strategy, expected)
        require(
            len(set(self.compare)) == len(self.compare),
            "compare",
            self.compare,
            "each once",
        )
        require(self.keep is None or self.keep >= 1, "keep", self.keep, ">= 1")
        self._check_preparing()

    def _check_preparing(self) -> None:
        days = self.forget_days
        require(days is None or days >= 1, "forget_days", days, ">= 1")
        for name in ("extend", "forget_days"):
            value = getattr(self.prepare, name, None)
            expected = "none: each day extends the day before"
            require(value is None, f"prepare.{name}", value, expected)
        expected = "none: the data sets of data_dirs are prepared"
        require(days is None or bool(self.raw), "forget_days", days, expected)
        stopping, held_out = self.early_stopping, self.preparing().validation_days
        if stopping is not None and self.raw and not held_out:
            raise InputError(
                f"early_stopping is {stopping.patience}, but a day holds no rows out: "
                "give prepare.days and prepare.validation_days, or leave "
                "early_stopping out"
            )
        if isinstance(self.optimizer.schedule, PlateauConfig) and self.raw:
            expected = (
                "one without validation, since a day holds no rows out; or give "
                "prepare.days and prepare.validation_days"
            )
            require(bool(held_out), "optimizer.schedule", "plateau", expected)
        if days is not None and not self._traits.has_vocabulary:
            raise InputError(
                f"forget_days is {days}, but the {self.prepare.dialect} dialect has no "
                "vocabulary: leave it out"
            )

    @property
    def _traits(self) -> DialectTraits:
        return traits_of(self.prepare.dialect or "default")

    @property
    def versions_dir(self) -> Path:
        """The directory of the model's versions: `export_dir` or its default."""
        name = Path(self.output).resolve().name
        return self.export_dir or Path("saved_models") / name

    def training(self, data_dir: Path, run_dir: Path, export_dir: Path) -> TrainConfig:
        """Return the settings of training on one day, from nothing."""
        names = {setting.name for setting in fields(TrainConfig)}
        settings = {name: getattr(self, name) for name in names}
        own = {"data_dir": data_dir, "run_dir": run_dir, "export_dir": export_dir}
        return TrainConfig(**{**settings, **own, "raw": None, "prepare": _DEFAULT})

    def preparing(self) -> PrepareConfig:
        """Return the settings of preparing one day, from nothing."""
        prepare = self.prepare
        held_out = [getattr(prepare, name) for name in _HELD_OUT]
        defaults = [getattr(PrepareConfig, name) for name in _HELD_OUT]
        if held_out == defaults and self._traits.has_split_settings:
            return replace(prepare, validation_days=0.0, test_days=0.0)
        return prepare


_DEFAULT = PrepareConfig()
