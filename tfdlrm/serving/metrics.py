"""Counters and histograms under TF Serving's names, as Prometheus reads them.

TF Serving's names begin with a colon and its counters do not end with `_total`;
Prometheus' own client library refuses to write these.
"""

import bisect
import threading
from collections.abc import Sequence

import numpy as np

Labels = tuple[str, ...]

LATENCY_BUCKETS = tuple(10 * 1.8**i for i in range(33))
"""Microseconds, up to about 20 minutes."""

DIFFERENCE_BUCKETS = (0.0, *(10.0**-digits for digits in range(9, 0, -1)), 1.0)
"""Differences of probabilities."""

EXAMPLE_BUCKETS = tuple(float(2**i) for i in range(15))


class Counter:
    """A number that only rises, for each combination of labels.

    Args:
        name: TF Serving's name, such as `:tensorflow:serving:request_count`.
        labels: Names of the labels.
    """

    kind = "counter"

    def __init__(self, name: str, *labels: str) -> None:
        self.name, self.labels = name, labels
        self._lock = threading.Lock()
        self._values: dict[Labels, int] = {}

    def add(self, *labels: str, number: int = 1) -> None:
        """Add `number` to the count of these labels."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0) + number

    def lines(self) -> list[str]:
        """Return the lines that Prometheus reads."""
        with self._lock:
            values = dict(self._values)
        return [
            f"{self.name}{_braces(self.labels, labels)} {value}"
            for labels, value in values.items()
        ]


class Histogram:
    """Counts of values up to each of several bounds.

    Args:
        name: TF Serving's name, such as `:tensorflow:serving:request_latency`.
        bounds: Upper bounds, in rising order.
        labels: Names of the labels.
    """

    kind = "histogram"

    def __init__(self, name: str, bounds: Sequence[float], *labels: str) -> None:
        self.name, self.bounds, self.labels = name, bounds, labels
        self._lock = threading.Lock()
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, value: float, *labels: str) -> None:
        """Add a value."""
        bucket = bisect.bisect_left(self.bounds, value)
        with self._lock:
            self._counts_of(labels)[bucket] += 1
            self._sums[labels] += value

    def observe_all(self, values: np.ndarray, *labels: str) -> None:
        """Add several values; infinite ones do not enter the sum."""
        buckets = np.searchsorted(self.bounds, values)
        numbers = np.bincount(buckets, minlength=len(self.bounds) + 1).tolist()
        total = float(values[np.isfinite(values)].sum())
        with self._lock:
            counts = self._counts_of(labels)
            counts[:] = map(sum, zip(counts, numbers, strict=True))
            self._sums[labels] += total

    def _counts_of(self, labels: Labels) -> list[int]:
        """Return the counts of these labels, which the caller has locked."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(self.bounds) + 1)
            self._sums[labels] = 0.0
        return counts

    def lines(self) -> list[str]:
        """Return the lines that Prometheus reads."""
        with self._lock:
            counts = {labels: list(buckets) for labels, buckets in self._counts.items()}
            sums = dict(self._sums)
        lines = []
        for labels, buckets in counts.items():
            total = 0
            for bound, count in zip([*self.bounds, None], buckets, strict=True):
                total += count
                le = "+Inf" if bound is None else f"{bound:g}"
                braces = _braces((*self.labels, "le"), (*labels, le))
                lines.append(f"{self.name}_bucket{braces} {total}")
            braces = _braces(self.labels, labels)
            lines.append(f"{self.name}_sum{braces} {sums[labels]:.17g}")
            lines.append(f"{self.name}_count{braces} {total}")
        return lines


class ColumnCounter:
    """Numbers that only rise, one for each column of a model.

    Args:
        name: A name such as `:tfdlrm:serving:unknown_values`.
    """

    kind = "counter"

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._values: dict[tuple[str, Labels], np.ndarray] = {}

    def add(self, model: str, columns: Labels, numbers: np.ndarray) -> None:
        """Add a number to the count of each column."""
        with self._lock:
            count = self._values.get((model, columns))
            self._values[model, columns] = numbers if count is None else count + numbers

    def lines(self) -> list[str]:
        """Return the lines that Prometheus reads."""
        totals: dict[Labels, int] = {}
        with self._lock:
            values = dict(self._values)
        for (model, columns), numbers in values.items():
            for column, number in zip(columns, numbers.tolist(), strict=True):
                totals[model, column] = totals.get((model, column), 0) + number
        return [
            f"{self.name}{_braces(('model_name', 'column'), labels)} {number}"
            for labels, number in totals.items()
        ]


class Metrics:
    """All counters and histograms of the server."""

    def __init__(self) -> None:
        serving = ":tensorflow:serving:"
        by_model = ("model_name", "API")
        self._request_count = Counter(f"{serving}request_count", "model_name", "status")
        self._request_latency = Histogram(
            f"{serving}request_latency", LATENCY_BUCKETS, *by_model, "entrypoint"
        )
        self._runtime_latency = Histogram(
            f"{serving}runtime_latency", LATENCY_BUCKETS, *by_model, "runtime"
        )
        self._queuing_latency = Histogram(
            f"{serving}batching_session:queuing_latency", LATENCY_BUCKETS, "model_name"
        )
        self._example_counts = Histogram(
            f"{serving}request_example_counts", EXAMPLE_BUCKETS, "model"
        )
        self._example_total = Counter(f"{serving}request_example_count_total", "model")
        self._graph_runs = Counter(":tensorflow:core:graph_runs")
        self._load_attempts = Counter(
            ":tensorflow:cc:saved_model:load_attempt_count", "model_path", "status"
        )
        self._load_latency = Counter(
            ":tensorflow:cc:saved_model:load_latency", "model_path"
        )

        self._unknown_values = ColumnCounter(":tfdlrm:serving:unknown_values")
        self._values = ColumnCounter(":tfdlrm:serving:values")
        self._logged = Counter(":tfdlrm:serving:logged_requests", "model_name")
        by_versions = ("model_name", "version", "shadow_version")
        self._shadow_requests = Counter(
            ":tfdlrm:serving:shadow_requests", "model_name", "status"
        )
        self._shadow_difference = Histogram(
            ":tfdlrm:serving:shadow_difference", DIFFERENCE_BUCKETS, *by_versions
        )
        self._shadow_latency = Histogram(
            ":tfdlrm:serving:shadow_latency", LATENCY_BUCKETS, *by_versions
        )
        self._unlogged = Counter(
            ":tfdlrm:serving:unlogged_requests", "model_name", "reason"
        )

    def count_answer(
        self, model: str, api: str, entrypoint: str, status: str, seconds: float
    ) -> None:
        """Count a request that was answered, and its time; errors are answers too."""
        self._request_count.add(model, status)
        self._request_latency.observe(seconds * 1e6, model, api, entrypoint)

    def count_examples(self, model: str, number: int) -> None:
        """Count the rows of a request."""
        self._example_counts.observe(number, model)
        self._example_total.add(model, number=number)

    def count_wait(self, model: str, seconds: float) -> None:
        """Count the time that a request waited in its queue."""
        self._queuing_latency.observe(seconds * 1e6, model)

    def count_run(self, model: str, seconds: float) -> None:
        """Count a batch that was run, and its time."""
        self._graph_runs.add()
        self._runtime_latency.observe(seconds * 1e6, model, "Predict", "TF1")

    def count_values(
        self, model: str, columns: Labels, unknown: np.ndarray, values: np.ndarray
    ) -> None:
        """Count the unknown values and all values of a request, by column."""
        self._unknown_values.add(model, columns, unknown)
        self._values.add(model, columns, values)

    def count_logged(self, model: str) -> None:
        """Count a request that was written to the request log."""
        self._logged.add(model)

    def count_unlogged(self, model: str, reason: str) -> None:
        """Count a sampled request that was not logged: the `queue` or the `disk`."""
        self._unlogged.add(model, reason)

    def count_shadow(self, model: str, status: str) -> None:
        """Count a request that was drawn for the other version."""
        self._shadow_requests.add(model, status)

    def count_comparison(
        self,
        model: str,
        version: str,
        shadow_version: str,
        differences: np.ndarray,
        seconds: float,
    ) -> None:
        """Count the differences of two versions' answers, and the other one's time."""
        versions = model, version, shadow_version
        self._shadow_difference.observe_all(differences, *versions)
        self._shadow_latency.observe(seconds * 1e6, *versions)

    def count_load(self, path: str, status: str, seconds: float) -> None:
        """Count an attempt to load a version; `status` is `success` or `fail`."""
        self._load_attempts.add(path, status)
        self._load_latency.add(path, number=round(seconds * 1e6))

    def text(self) -> str:
        """Return the page that Prometheus scrapes."""
        lines = []
        for metric in vars(self).values():
            lines.append(f"# TYPE {metric.name} {metric.kind}")
            lines.extend(metric.lines())
        return "\n".join(lines) + "\n"


def _braces(names: Sequence[str], values: Sequence[str]) -> str:
    if not names:
        return "{}"
    pairs = (
        f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True)
    )
    return f"{{{','.join(pairs)}}}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
