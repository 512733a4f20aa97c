"""Settings of learning from a stream."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tfdlrm.base.errors import require
from tfdlrm.config.training import CheckpointConfig


@dataclass(frozen=True)
class StreamConfig:
    """Continue learning from a click stream: predict each event, then learn from it.

    Args:
        stream: The topic, kafka://HOST:PORT/TOPIC. Its events are JSON objects of raw
            columns, or block records.
        run_dir: Finished run of `tfdlrm.train` whose model continues to learn; files of
            the stream go to `stream/` in it.
        start: Where to begin the stream; later it resumes from its last checkpoint.
        stop_at_end: Stop after the events that were there when the command began,
            instead of waiting for more.
        batch_size: Events of one step; null means as many as in training.
        measure_every: Events between points of the curves.
        compare_frozen: Also score each event with the unchanged model of the run.
        export_minutes: Minutes between exported versions; null exports
            only at the end of `stop_at_end`.
        export_dir: Directory of the versions; null means that of the run.
        allow_other_columns: Whether to export although the newest version in export_dir
            has other columns, so that its clients could not use this model.
        allow_one_class: Whether to export although all events so far have the same
            label, so that nothing was learned.
        checkpoints: When offsets and weights are committed, together.
        on_bad_event: Reaction to an event that cannot be read: `stop` with its offset,
            or `skip` it and count it.
        kafka: More settings of librdkafka, such as '[security.protocol=ssl]'.
    """

    stream: str
    run_dir: Path
    start: Literal["earliest", "latest"] = "earliest"
    stop_at_end: bool = False
    batch_size: int | None = None
    measure_every: int = 10_000
    compare_frozen: bool = False
    export_minutes: float | None = 10.0
    export_dir: Path | None = None
    allow_other_columns: bool = False
    allow_one_class: bool = False
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    on_bad_event: Literal["stop", "skip"] = "stop"
    kafka: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        size, minutes = self.batch_size, self.export_minutes
        require(size is None or size >= 1, "batch_size", size, ">= 1")
        require(self.measure_every >= 1, "measure_every", self.measure_every, ">= 1")
        require(minutes is None or minutes > 0, "export_minutes", minutes, "> 0")
