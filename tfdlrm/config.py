"""Settings of training and preparing, as frozen dataclasses."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tfdlrm.byte_size import parse_byte_size
from tfdlrm.errors import InputError, require
from tfdlrm.model_config import DLRMConfig, ModelConfig
from tfdlrm.schema import RecordFormat

MIN_MEMORY = 10**9

OptimizerName = Literal["sgd", "adagrad", "row_wise_adagrad", "lazy_adam"]
"""Those of `tfdlrm.optimizers`."""


@dataclass(frozen=True)
class PrepareConfig:
    """How raw rows become a data set.

    Args:
        dialect: How categorical values become ids, and which rows are held out:
            `default` counts the values of training rows; `facebook` does as the
            reference implementation of DLRM; `hash` takes a remainder and counts
            nothing.
        min_frequency: A categorical value seen less often than this in training rows
            gets the id of unknown values (dialect default; null means 10).
        max_index_range: Hashes are taken modulo this before they get ids (dialect
            facebook; null takes them as they are).
        hash_buckets: Ids of each categorical feature beside the reserved ones (dialect
            hash; null means 100,000).
        days: Number of equal parts, in file order, that the rows are cut into; null
            means one part a file when there are several files, and 7 otherwise.
        validation_days: Parts, or a fraction of one, held out just before the test
            rows.
        test_days: Parts, or a fraction of one, held out at the end.
        on_bad_row: What a malformed row does: `stop` with its place, or `skip` it,
            count it and report it.
        seed: Seed of the shuffle of the training rows.
        columns: YAML file that says what the columns of a log are that is not in
            Criteo's format; docs/own_data.md tells what it holds.
        record_format: `block` for records that train fastest, `row` for ordinary
            one-row Examples that other tools read too, `parquet` for Parquet, which
            tensorflow-io reads.
        memory_budget: Memory to use at most, about, such as `8GB`; what does not fit
            waits on disk. It changes nothing in the data set.
        engine: `local` works on this machine; `spark` on a Spark cluster, whose
            machines see the files under the same paths. It changes nothing in the data
            set.
        master: The Spark cluster, such as `local[2]` or `spark://host:7077` (engine
            spark; null leaves it to Spark's own configuration).
    """

    dialect: Literal["default", "facebook", "hash"] = "default"
    min_frequency: int | None = None
    max_index_range: int | None = None
    hash_buckets: int | None = None
    days: int | None = None
    validation_days: float = 0.5
    test_days: float = 0.5
    on_bad_row: Literal["stop", "skip"] = "stop"
    seed: int = 0
    columns: Path | None = None
    record_format: RecordFormat = "block"
    memory_budget: str = "8GB"
    engine: Literal["local", "spark"] = "local"
    master: str | None = None

    def __post_init__(self) -> None:
        self._settle_dialect()
        require(
            self.master is None or self.engine == "spark",
            "master",
            self.master,
            "none with engine local: add --engine spark",
        )
        require(self.days is None or self.days >= 1, "days", self.days, ">= 1")
        require(
            self.validation_days >= 0, "validation_days", self.validation_days, ">= 0"
        )
        require(self.test_days >= 0, "test_days", self.test_days, ">= 0")
        require(self.seed >= 0, "seed", self.seed, ">= 0")
        num_bytes = parse_byte_size(self.memory_budget, "memory_budget")
        require(num_bytes >= MIN_MEMORY, "memory_budget", self.memory_budget, ">= 1GB")

    def _settle_dialect(self) -> None:
        """Refuse what the dialect does not use, and fill in what it needs."""
        for dialect, name, highest, default in _DIALECT_SETTINGS:
            value = getattr(self, name)
            if dialect != self.dialect:
                _refuse_unused(name, value, None, self.dialect)
            elif value is None:
                object.__setattr__(self, name, default)
            else:
                bounds = f"from 1 to {highest:,}"
                require(1 <= value <= highest, name, value, bounds)
        if self.dialect == "facebook":
            for name in ("days", "validation_days", "test_days"):
                default = getattr(PrepareConfig, name)
                _refuse_unused(name, getattr(self, name), default, self.dialect)


def _refuse_unused(name: str, value: object, default: object, dialect: str) -> None:
    if value != default:
        raise InputError(
            f"{name} is {value}, but the {dialect} dialect has no such choice: leave "
            f"{name} out, or give another --dialect"
        )


_DIALECT_SETTINGS = (
    ("default", "min_frequency", 2**63 - 1, 10),
    ("facebook", "max_index_range", 2**32, None),
    # With 26 features of width 16 the tables of 100,000 take 166 MB, which trains on
    # any machine; and the two reserved ids still leave an int32.
    ("hash", "hash_buckets", 2**31 - 3, 100_000),
)
"""For each setting of one dialect: which one, its name, its bound and its default."""


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer.

    Args:
        name: Which one of `tfdlrm.optimizers`.
        learning_rate: Step size; where there is a schedule, what its warm-up leads to.
        warm_up_steps: Training steps over which the learning rate rises to that from
            0; as the reference implementation's `--lr-num-warmup-steps`.
        decay_start_step: Training step at which a quadratic decay to 0 begins.
        decay_steps: Its length; 0 for no decay.
    """

    name: OptimizerName = "adagrad"
    learning_rate: float = 0.01
    warm_up_steps: int = 0
    decay_start_step: int = 0
    decay_steps: int = 0

    def __post_init__(self) -> None:
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "> 0")
        for name in ("warm_up_steps", "decay_start_step", "decay_steps"):
            require(getattr(self, name) >= 0, name, getattr(self, name), ">= 0")
        start, end = self.decay_start_step, self.warm_up_steps
        if self.decay_steps:
            expected = f">= warm_up_steps, which is {end}"
            require(start >= end, "decay_start_step", start, expected)
        else:
            require(start == 0, "decay_start_step", start, "0 without decay_steps")

    @property
    def has_schedule(self) -> bool:
        """Whether the learning rate changes with the training step."""
        return bool(self.warm_up_steps or self.decay_steps)


@dataclass(frozen=True)
class CheckpointConfig:
    """When a run writes a checkpoint, from which the same command goes on.

    Args:
        minutes: Minutes from one to the next; null writes none by the clock.
        steps: Training steps from one to the next; null writes none by their number.
        keep: How many of the newest are kept.
    """

    minutes: float | None = 10.0
    steps: int | None = None
    keep: int = 2

    def __post_init__(self) -> None:
        minutes, steps = self.minutes, self.steps
        require(minutes is None or minutes > 0, "minutes", minutes, "> 0")
        require(steps is None or steps >= 1, "steps", steps, ">= 1")
        require(self.keep >= 1, "keep", self.keep, ">= 1")


@dataclass(frozen=True)
class TrainConfig:
    """Train a model, evaluate it and export it for serving.

    With neither data_dir nor raw, a small synthetic data set is made first. With
    `--stream kafka://HOST:PORT/TOPIC`, a trained model goes on learning from a click
    stream instead; put it before --help for its settings.

    Args:
        data_dir: Data set directory written by `pipelines.prepare`; with raw, where the
            prepared data set goes.
        raw: Raw log to prepare first, Criteo's or what prepare.columns tells of; what
            an earlier run prepared from it is used again.
        prepare: How raw rows become a data set.
        model: Which model, and its architecture.
        optimizer: Optimizer.
        batch_size: Rows in one training step, over all devices.
        epochs: Passes over the training rows.
        seed: Seed of the initial weights and of the order of rows.
        evaluations_per_epoch: Times an epoch that the curves get a point.
        early_stopping: Points in a row of the validation curve whose log loss is no
            lower than the lowest before them, after which training ends and the weights
            of that lowest point are kept; null trains all epochs.
        strategy: `mirrored` trains on all GPUs at once, `default` on one device;
            `multi_worker` on all GPUs of several machines, each of which runs the same
            command with its own `TF_CONFIG`.
        tables: Where embedding tables lie: `replicated` on every device that trains;
            `sharded`, with strategy mirrored, each row on one of them, so that each
            holds its share; `host` in the memory of the machine, beside its GPUs.
        precision: `mixed_bfloat16` and `mixed_float16` compute in 16 bits and keep
            weights in 32; the first is for processors that have the instructions, the
            second, whose loss is scaled, for GPUs.
        tf32: Whether GPUs may multiply float32 matrices as TF32, with 10 bits of
            mantissa in place of 23, which is faster; processors never do.
        steps_per_execution: Training steps in one call of the compiled function; more
            are faster where batches are small.
        allow_one_class: Whether to train although all training rows have the same
            label, of which nothing is learned.
        profile_steps: The first and the last training step that TensorFlow's profiler
            watches; what it sees goes to `profile` in the run's directory.
        checkpoints: When to write checkpoints.
        run_dir: Where the run's files go; null makes a new directory under `runs/`. A
            run that was stopped goes on from its last checkpoint.
        export_dir: Where the next version of the SavedModel goes; null means
            `saved_models/` and the model's name.
    """

    data_dir: Path | None = None
    raw: Path | None = None
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    model: ModelConfig = field(default_factory=DLRMConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    batch_size: int = 256
    epochs: int = 1
    seed: int = 0
    evaluations_per_epoch: int = 10
    early_stopping: int | None = None
    strategy: Literal["default", "mirrored", "multi_worker"] = "default"
    tables: Literal["replicated", "sharded", "host"] = "replicated"
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    tf32: bool = False
    steps_per_execution: int = 1
    allow_one_class: bool = False
    profile_steps: tuple[int, int] | None = None
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    run_dir: Path | None = None
    export_dir: Path | None = None

    def __post_init__(self) -> None:
        for name in (
            "batch_size",
            "epochs",
            "evaluations_per_epoch",
            "steps_per_execution",
        ):
            require(getattr(self, name) >= 1, name, getattr(self, name), ">= 1")
        patience = self.early_stopping
        is_possible = patience is None or patience >= 1
        require(is_possible, "early_stopping", patience, "null or >= 1")
        require(self.seed >= 0, "seed", self.seed, ">= 0")
        if self.profile_steps is not None:
            first, last = self.profile_steps
            expected = "two steps, the first >= 1 and the last no smaller"
            steps = [first, last]
            require(1 <= first <= last, "profile_steps", steps, expected)
        self._check_distribution()

    @property
    def versions_dir(self) -> Path:
        """The directory of the model's versions, said or not."""
        return self.export_dir or Path("saved_models") / self.model.name

    def _check_distribution(self) -> None:
        """Refuse what several devices or machines cannot do."""
        homes = {
            "default": ("replicated", "host"),
            "mirrored": ("replicated", "sharded", "host"),
            "multi_worker": ("replicated",),
        }[self.strategy]
        expected = f"{' or '.join(homes)} with strategy {self.strategy}"
        require(self.tables in homes, "tables", self.tables, expected)
        require(
            self.early_stopping is None
            or (self.tables == "replicated" and self.strategy != "multi_worker"),
            "early_stopping",
            self.early_stopping,
            "null with strategy multi_worker and with tables that are not replicated",
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
