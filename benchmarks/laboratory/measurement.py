"""The job of a child process that measures, and its answer."""

from dataclasses import dataclass
from typing import Literal, Protocol

from tfdlrm.base.errors import InputError

StepSystem = Literal[
    "tfdlrm", "tfdlrm-bf16", "keras", "tfrs", "torch", "products", "products-bf16"
]
System = Literal[
    StepSystem, "torch-bf16", "tfdlrm-files", "ceiling", "ceiling-bf16", "bandwidth"
]
Tables = Literal["device", "host"]
Optimizer = Literal["sgd", "adagrad"]


class JobSettings(Protocol):
    """The settings of a command that all of its jobs have; `Job` describes them."""

    @property
    def table_scale(self) -> float: ...

    @property
    def seconds(self) -> float: ...

    @property
    def min_steps(self) -> int: ...

    @property
    def seed(self) -> int: ...


@dataclass(frozen=True)
class Job:
    """Measure the training step of one system and print the result as JSON.

    Args:
        system: What is measured. The two ceilings are large matrix products in float32
            and in bfloat16, `bandwidth` is sums of large vectors; they have no other
            settings than seconds and tf32.
        optimizer: Optimizer.
        batch_size: Rows in a step.
        steps_per_execution: Steps in one call of the compiled function.
        table_scale: Factor of the published vocabulary sizes.
        seconds: Measure for this long at least.
        min_steps: Measure this many steps at least.
        seed: Seed of the rows.
        tables: Where tables and their state lie: on the device that trains, or in the
            machine's memory.
        tf32: Whether a GPU may round the factors of float32 products to TF32, which is
            TensorFlow's default.
    """

    system: System
    optimizer: Optimizer = "sgd"
    batch_size: int = 2048
    steps_per_execution: int = 1
    table_scale: float = 1.0
    seconds: float = 5.0
    min_steps: int = 20
    seed: int = 0
    tables: Tables = "device"
    tf32: bool = True

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps_per_execution", "min_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, expected >= 1")
        for name in ("table_scale", "seconds"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name)}, expected > 0")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}, expected >= 0")

    @classmethod
    def with_settings(cls, system: System, settings: JobSettings) -> "Job":
        """Return the job that measures a system with the settings of a command."""
        return cls(
            system=system,
            table_scale=settings.table_scale,
            seconds=settings.seconds,
            min_steps=settings.min_steps,
            seed=settings.seed,
        )


@dataclass(frozen=True)
class StepTime:
    """Time of a training step.

    Args:
        ms: Milliseconds a step: the median over stretches of steps.
        steps: Steps measured, those of the warm-up not among them.
        loss: Loss at the end, a sign that the system trained.
        rss_gb: Resident memory at the end, with the model still there.
        start_seconds: Time of the start of an epoch, without its steps; 0 where it was
            not measured.
    """

    ms: float
    steps: int
    loss: float
    rss_gb: float
    start_seconds: float = 0.0


@dataclass(frozen=True)
class Device:
    """The device that a process computed on.

    Args:
        name: A GPU's name, or `CPU`.
        peak_gb: Most memory of a GPU that the process had in use, where it is known.
    """

    name: str
    peak_gb: float | None = None


CPU = Device("CPU")


@dataclass(frozen=True)
class Measurement:
    """Result of a job.

    Args:
        job: The job.
        step: Time of a training step; `None` for a ceiling or where there is a note.
        gflops: Speed of a ceiling, in 10^9 operations a second.
        gb_per_second: Speed of `bandwidth`, in 10^9 bytes read or written a second.
        peak_gb: Peak resident memory of the process.
        device: Device that it computed on; `None` where there is a note.
        note: Reason why there is no result.
        is_failure: Whether something went wrong.
    """

    job: Job
    step: StepTime | None = None
    gflops: float | None = None
    peak_gb: float | None = None
    device: Device | None = None
    gb_per_second: float | None = None
    note: str = ""
    is_failure: bool = False

    @property
    def samples_per_second(self) -> float:
        """Rows trained on in a second; not a number where there is no result."""
        if self.step is None:
            return float("nan")
        return self.job.batch_size / self.step.ms * 1000

    @classmethod
    def from_json(cls, fields: dict) -> "Measurement":
        """Return the measurement of which `dataclasses.asdict` made `fields`."""
        step, device = fields["step"], fields["device"]
        return cls(
            **{
                **fields,
                "job": Job(**fields["job"]),
                "step": StepTime(**step) if step else None,
                "device": Device(**device) if device else None,
            }
        )
