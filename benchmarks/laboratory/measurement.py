"""What is asked of a child process that measures, and what it answers."""

from dataclasses import dataclass
from typing import Literal

from tfdlrm.base.errors import InputError

StepSystem = Literal[
    "tfdlrm", "tfdlrm-bf16", "keras", "tfrs", "torch", "products", "products-bf16"
]
System = Literal[StepSystem, "tfdlrm-files", "ceiling", "ceiling-bf16"]
Optimizer = Literal["sgd", "adagrad"]


@dataclass(frozen=True)
class Job:
    """Measure the training step of one system and print the result as JSON.

    Args:
        system: What is measured. The two ceilings are large matrix products in float32
            and in bfloat16; they have no other setting than seconds.
        optimizer: Optimizer.
        batch_size: Rows in a step.
        steps_per_execution: Steps in one call of the compiled function.
        table_scale: Factor of the published vocabulary sizes.
        seconds: Measure for this long at least.
        min_steps: Measure this many steps at least.
        seed: Seed of the rows.
    """

    system: System
    optimizer: Optimizer = "sgd"
    batch_size: int = 2048
    steps_per_execution: int = 1
    table_scale: float = 1.0
    seconds: float = 5.0
    min_steps: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps_per_execution", "min_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, expected >= 1")
        for name in ("table_scale", "seconds"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name)}, expected > 0")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}, expected >= 0")


@dataclass(frozen=True)
class StepTime:
    """Time of a training step.

    Args:
        ms: Milliseconds a step: the median over stretches of steps.
        steps: Steps measured, those of the warm-up not among them.
        loss: Loss at the end, a sign that the system trained.
        rss_gb: Resident memory at the end, with the model still there.
        start_seconds: What the start of an epoch takes beside its steps; 0 where it was
            not measured.
    """

    ms: float
    steps: int
    loss: float
    rss_gb: float
    start_seconds: float = 0.0


@dataclass(frozen=True)
class Measurement:
    """Result of a job.

    Args:
        job: The job.
        step: Time of a training step; `None` for a ceiling or where there is a note.
        gflops: What a ceiling measured, in 10^9 operations a second.
        peak_gb: Peak resident memory of the process.
        note: Why there is no result.
        is_failure: Whether that is because something went wrong.
    """

    job: Job
    step: StepTime | None = None
    gflops: float | None = None
    peak_gb: float | None = None
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
        """The measurement that `dataclasses.asdict` made `fields` of."""
        step = fields["step"]
        return cls(
            **{
                **fields,
                "job": Job(**fields["job"]),
                "step": StepTime(**step) if step else None,
            }
        )
