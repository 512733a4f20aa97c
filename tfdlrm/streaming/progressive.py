"""Progressive validation: every event is predicted before it is learned."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from matplotlib.figure import Figure

from tfdlrm.base import storage
from tfdlrm.base.figures import save_figure
from tfdlrm.metrics.binary import binary_metrics, measure_text

MEASURED = ("log_loss", "auc")


@dataclass(frozen=True)
class StreamPoint:
    """Measures of the events since the point before, each predicted unlearned.

    Args:
        events: Events up to here.
        log_loss: Mean log loss of those since the point before.
        auc: Their AUC; NaN where all labels are alike.
        base_rate: Share of clicks among them.
        frozen_log_loss: Log loss of the model as it was when the stream began.
        frozen_auc: Its AUC.
    """

    events: int
    log_loss: float
    auc: float
    base_rate: float
    frozen_log_loss: float | None = None
    frozen_auc: float | None = None


class ProgressiveValidation:
    """Takes a point every so many events, prints it as a line, and draws the curves.

    Args:
        directory: Where `metrics.jsonl` and `curves.png` go.
        every: Events between two points.
        state: What `state` gave when it was interrupted.
    """

    def __init__(
        self, directory: Path, every: int, state: dict[str, Any] | None = None
    ) -> None:
        state = state or {"events": 0, "points": [], "since": [[], [], []]}
        self._directory = directory
        self._every = every
        self.events: int = state["events"]
        self.points = [StreamPoint(**point) for point in state["points"]]
        self._since: list[list[float]] = [list(values) for values in state["since"]]
        self._timed = (time.perf_counter(), self.events)
        self._has_header = False

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it, as JSON has it."""
        return {
            "events": self.events,
            "points": [asdict(point) for point in self.points],
            "since": self._since,
        }

    def add(
        self,
        labels: np.ndarray,
        probabilities: np.ndarray,
        frozen: np.ndarray | None = None,
    ) -> None:
        """Take the predictions of a batch, and a point when it is time."""
        self.events += len(labels)
        columns: tuple[Any, ...] = (
            labels,
            probabilities,
            [] if frozen is None else frozen,
        )
        for kept, values in zip(self._since, columns, strict=True):
            kept += np.ravel(values).tolist()
        if len(self._since[0]) >= self._every:
            self.take()

    def take(self) -> None:
        """A point of the events since the last one, if there are any."""
        labels, probabilities, frozen = map(np.array, self._since)
        if not len(labels):
            return
        found = binary_metrics(labels, probabilities)
        than = binary_metrics(labels, frozen) if len(frozen) == len(labels) else None
        point = StreamPoint(
            self.events,
            found.log_loss,
            found.auc,
            found.base_rate,
            than.log_loss if than else None,
            than.auc if than else None,
        )
        self.points.append(point)
        self._since = [[], [], []]
        self._print(point)
        self.write()

    def write(self) -> None:
        """Write the points and draw them; a disk that refuses does not end a stream."""
        lines = [f"{orjson.dumps(point).decode()}\n" for point in self.points]
        try:
            storage.replace_text(self._directory / "metrics.jsonl", "".join(lines))
            if self.points:
                draw(self.points, self._directory / "curves.png")
        except OSError as error:
            print(f"the curves are not on disk: {error}", flush=True)

    def _print(self, point: StreamPoint) -> None:
        then, before = self._timed
        rate = (self.events - before) / (time.perf_counter() - then)
        self._timed = (time.perf_counter(), self.events)
        is_compared = point.frozen_log_loss is not None
        if not self._has_header:
            columns = ["events", "log loss", "AUC", "clicks", "events/s"]
            columns += ["frozen loss", "frozen AUC"] if is_compared else []
            print("".join(f"{name:>12}" for name in columns), flush=True)
            self._has_header = True
        cells = [
            f"{point.events:,}",
            f"{point.log_loss:.4f}",
            measure_text(point.auc),
            f"{point.base_rate:.2%}",
            f"{rate:,.0f}",
        ]
        if is_compared:
            frozen_auc = point.frozen_auc
            cells += [
                f"{point.frozen_log_loss:.4f}",
                "" if frozen_auc is None else measure_text(frozen_auc),
            ]
        print("".join(f"{cell:>12}" for cell in cells), flush=True)


def draw(points: Sequence[StreamPoint], path: Path) -> None:
    """Draw log loss and AUC over events."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    events = [point.events for point in points]
    titles = ("log loss", "AUC")
    for axis, name, title in zip(axes, MEASURED, titles, strict=True):
        axis.plot(events, [getattr(p, name) for p in points], marker=".", label="model")
        frozen = [getattr(point, f"frozen_{name}") for point in points]
        if any(value is not None for value in frozen):
            values = np.array(frozen, float)  # not a number where it was not scored
            axis.plot(events, values, "--", marker=".", label="frozen model")
            axis.legend()
        axis.set(title=f"{title}, predicted before learned", xlabel="events")
        axis.grid(alpha=0.3)
    save_figure(figure, path)
