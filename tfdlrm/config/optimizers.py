"""Settings of the optimizer, as frozen dataclasses."""

from dataclasses import dataclass, field, fields, replace
from typing import Literal

from tfdlrm.base.errors import require
from tfdlrm.config.schedules import PlateauConfig, ScheduleConfig
from tfdlrm.config.values import take_values

OptimizerName = Literal["sgd", "adagrad", "row_wise_adagrad", "lazy_adam"]
"""The optimizers of `tfdlrm.optimizers`."""

DenseOptimizerName = Literal[
    "sgd",
    "adam",
    "adamw",
    "nadam",
    "adamax",
    "rmsprop",
    "adagrad",
    "adadelta",
    "adafactor",
    "ftrl",
    "lamb",
    "lion",
]
"""Optimizers of `keras.optimizers`."""


@dataclass(frozen=True)
class DenseOptimizerConfig:
    """The optimizer of all that ids do not look up.

    Args:
        name: One of `keras.optimizers` for the weights of dense layers, that is of all
            that ids do not look up; null trains them by the optimizer of the tables.
        learning_rate: Step size; a schedule scales it as that of the tables.
        weight_decay: Share of each weight, times the learning rate, that a step takes
            away; null means Keras' default, 0.004 for `adamw` and none for others.
        clip_norm: Largest norm of the gradients of all dense layers together.
        momentum: Momentum of `sgd` and `rmsprop`.
    """

    name: DenseOptimizerName | None = None
    learning_rate: float = 0.001
    weight_decay: float | None = None
    clip_norm: float | None = None
    momentum: float = 0.0

    def __post_init__(self) -> None:
        take_values(self)
        if self.name is None:
            self._refuse_settings()
        rate, decay, norm = self.learning_rate, self.weight_decay, self.clip_norm
        self._require(rate > 0, "learning_rate", "> 0")
        self._require(decay is None or decay >= 0, "weight_decay", "null or >= 0")
        self._require(norm is None or norm > 0, "clip_norm", "null or > 0")
        has_momentum = self.name in ("sgd", "rmsprop")
        allowed = self.momentum == 0 or (has_momentum and 0 <= self.momentum < 1)
        expected = ">= 0 and < 1, and 0 unless optimizer.dense.name is sgd or rmsprop"
        self._require(allowed, "momentum", expected)

    def _refuse_settings(self) -> None:
        """Refuse settings of an optimizer that there is not."""
        for setting in fields(self):
            is_default = getattr(self, setting.name) == setting.default
            expected = "no setting without optimizer.dense.name, such as adam"
            self._require(is_default, setting.name, expected)

    def _require(self, is_allowed: bool, name: str, expected: str) -> None:
        value = getattr(self, name)
        require(is_allowed, f"optimizer.dense.{name}", value, expected)


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer.

    Args:
        name: Which one of `tfdlrm.optimizers`.
        learning_rate: Step size; with a schedule, the one at the end of its warm-up.
        warm_up_steps: Training steps over which the learning rate rises from 0 to that
            size; as the reference implementation's `--lr-num-warmup-steps`.
        decay_start_step: Training step at which a quadratic decay to 0 begins.
        decay_steps: Length of the decay in steps; 0 for none.
        schedule: Another schedule of the learning rate than these three, with a warm-up
            of its own; null means none. It begins with the run.
        epsilon: Number that keeps the division by the root of the squared gradients
            finite, of all but `sgd`; null means 1e-10, and 1e-7 for `lazy_adam`.
        initial_accumulator: First value of the sums of squared gradients of `adagrad`
            and `row_wise_adagrad`.
        dense: Another optimizer for the dense layers.
        table_l2: Factor of the sum of the squares of all numbers of embedding tables in
            the loss, as Keras' `L2`; unlike `model.embedding_l2` it pulls at every row,
            also at those that no batch names.
        table_weight_decay: Share of every row of a table, times the learning rate, that
            a step takes away.
        decay_of: How `table_l2` and `table_weight_decay` come to the rows: `all` reads
            and writes whole tables at every step, for small ones; `touched` lets a row
            catch up when a batch names it, at a cost that is independent of the tables.
    """

    name: OptimizerName = "adagrad"
    learning_rate: float = 0.01
    warm_up_steps: int = 0
    decay_start_step: int = 0
    decay_steps: int = 0
    schedule: ScheduleConfig | None = None
    epsilon: float | None = None
    initial_accumulator: float = 0.0
    dense: DenseOptimizerConfig = field(default_factory=DenseOptimizerConfig)
    table_l2: float = 0.0
    table_weight_decay: float = 0.0
    decay_of: Literal["touched", "all"] = "touched"

    def __post_init__(self) -> None:
        take_values(self)
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "> 0")
        for name in ("warm_up_steps", "decay_start_step", "decay_steps"):
            require(getattr(self, name) >= 0, name, getattr(self, name), ">= 0")
        start, end = self.decay_start_step, self.warm_up_steps
        if self.decay_steps:
            expected = f">= warm_up_steps, which is {end}"
            require(start >= end, "decay_start_step", start, expected)
        else:
            require(start == 0, "decay_start_step", start, "0 without decay_steps")
        self._check_numbers()
        if self.schedule is not None:
            self._check_schedule(self.schedule)

    def _check_schedule(self, schedule: ScheduleConfig) -> None:
        for name in ("warm_up_steps", "decay_steps"):
            expected = f"0 with a schedule: {schedule.name} has its own settings"
            require(getattr(self, name) == 0, name, getattr(self, name), expected)
        if isinstance(schedule, PlateauConfig):
            lowest, rate = schedule.min_rate, self.learning_rate
            name = "learning_rate"
            if self.dense.name is not None and self.dense.learning_rate < rate:
                name, rate = "dense.learning_rate", self.dense.learning_rate
            expected = f"<= {name}, which is {rate:g}"
            require(lowest <= rate, "schedule.min_rate", lowest, expected)

    def _check_numbers(self) -> None:
        name, epsilon, initial = self.name, self.epsilon, self.initial_accumulator
        is_possible = epsilon is None or (epsilon > 0 and name != "sgd")
        require(is_possible, "epsilon", epsilon, "null or > 0, and null with sgd")
        is_possible = initial == 0 or (initial > 0 and name.endswith("adagrad"))
        expected = ">= 0, and 0 unless optimizer.name is adagrad or row_wise_adagrad"
        require(is_possible, "initial_accumulator", initial, expected)
        self._check_decay()

    def _check_decay(self) -> None:
        for setting in ("table_l2", "table_weight_decay"):
            value = getattr(self, setting)
            require(value >= 0, setting, value, ">= 0")
        name = self.name
        is_possible = not (self.table_l2 and self.decays_late) or name == "sgd"
        expected = (
            f"all with table_l2 and {name}, whose steps depend on the penalty at every "
            "step before; or set table_weight_decay instead"
        )
        require(is_possible, "decay_of", self.decay_of, expected)
        share = self.learning_rate * self.table_weight_decay
        expected = "below 1 / learning_rate, or a step takes away all"
        value = self.table_weight_decay
        require(share < 1, "table_weight_decay", value, expected)

    @property
    def decays_late(self) -> bool:
        """Whether rows of tables miss their decay until a batch names them."""
        decays = bool(self.table_l2 or self.table_weight_decay)
        return decays and self.decay_of == "touched"

    @property
    def words(self) -> str:
        """The optimizers whose state a run has, in words."""
        words = self.name + " whose rows catch up" * self.decays_late
        if self.dense.name is not None:
            momentum = " with momentum" * bool(self.dense.momentum)
            words += f" and {self.dense.name}{momentum} for dense layers"
        return words

    @property
    def has_schedule(self) -> bool:
        """Whether the learning rate warms up or decays, other than by `schedule`."""
        return bool(self.warm_up_steps or self.decay_steps)

    def in_steps(self, steps_per_epoch: int, epochs: int) -> "OptimizerConfig":
        """Return the same with the lengths of a run's schedule in training steps.

        Args:
            steps_per_epoch: Training steps of an epoch.
            epochs: Epochs of the run.

        Raises:
            InputError: If the schedule does not fit into these epochs.
        """
        if self.schedule is None:
            return self
        schedule = self.schedule.in_steps(steps_per_epoch, epochs)
        return replace(self, schedule=schedule)
