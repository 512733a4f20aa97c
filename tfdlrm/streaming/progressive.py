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
    """Measures of the events since the previous point, predicted before learned.

    Args:
        events: Number of events up to this point.
        log_loss: Mean log loss of the events since the previous point.
        auc: AUC of these events; NaN if all labels are equal.
        base_rate: Share of clicks among these events.
        frozen_log_loss: Log loss of the model as it was when the stream began.
        frozen_auc: AUC of that model.
    """

    events: int
    log_loss: float
    auc: float
    base_rate: float
    frozen_log_loss: float | None = None
    frozen_auc: float | None = None


class ProgressiveValidation:
    """Measures points at regular intervals, prints each, and draws the curves.

    Args:
        directory: Directory of `metrics.jsonl` and `curves.png`.
        every: Events between two points.
        state: The `state` of an interrupted validation.
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
        self._last_print = (time.perf_counter(), self.events)
        self._has_header = False

    @property
    def state(self) -> dict[str, Any]:
        """The state that a checkpoint saves, as JSON values."""
        return {
            "events": self.events,
            "points": [asdict(point) for point in self.points],
            "since": self._since,
        }

    @property
    def only_label(self) -> int | None:
        """The label of all events so far; `None` if there are none, or both labels."""
        starts = [0, *(point.events for point in self.points)]
        num_positive = sum(self._since[0]) + sum(
            round(point.base_rate * (point.events - start))
            for start, point in zip(starts, self.points, strict=False)
        )
        if not self.events or num_positive not in (0, self.events):
            return None
        return int(num_positive > 0)

    def add(
        self,
        labels: np.ndarray,
        probabilities: np.ndarray,
        frozen: np.ndarray | None = None,
    ) -> None:
        """Add the predictions of a batch, and a point if it is due."""
        self.events += len(labels)
        columns: tuple[Any, ...] = (
            labels,
            probabilities,
            [] if frozen is None else frozen,
        )
        for column, values in zip(self._since, columns, strict=True):
            column += np.ravel(values).tolist()
        if len(self._since[0]) >= self._every:
            self.add_point()

    def add_point(self) -> None:
        """Add a point for the events since the last point, if there are any."""
        labels, probabilities, frozen = map(np.array, self._since)
        if not len(labels):
            return
        metrics = binary_metrics(labels, probabilities)
        is_compared = len(frozen) == len(labels)
        frozen_metrics = binary_metrics(labels, frozen) if is_compared else None
        point = StreamPoint(
            self.events,
            metrics.log_loss,
            metrics.auc,
            metrics.base_rate,
            frozen_metrics.log_loss if frozen_metrics else None,
            frozen_metrics.auc if frozen_metrics else None,
        )
        self.points.append(point)
        self._since = [[], [], []]
        self._print(point)
        self.write()

    def write(self) -> None:
        """Write the points and draw them; a full disk does not end a stream."""
        lines = [f"{orjson.dumps(point).decode()}\n" for point in self.points]
        try:
            storage.replace_text(self._directory / "metrics.jsonl", "".join(lines))
            if self.points:
                draw(self.points, self._directory / "curves.png")
        except OSError as error:
            print(f"the curves are not on disk: {error}", flush=True)

    def _print(self, point: StreamPoint) -> None:
        start, old_events = self._last_print
        rate = (self.events - old_events) / (time.perf_counter() - start)
        self._last_print = (time.perf_counter(), self.events)
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
        values = [getattr(point, name) for point in points]
        axis.plot(events, values, marker=".", label="model")
        frozen_values = [getattr(point, f"frozen_{name}") for point in points]
        if any(value is not None for value in frozen_values):
            frozen = np.array(frozen_values, float)  # NaN where it was not scored
            axis.plot(events, frozen, "--", marker=".", label="frozen model")
            axis.legend()
        axis.set(title=f"{title}, predicted before learned", xlabel="events")
        axis.grid(alpha=0.3)
    save_figure(figure, path)
