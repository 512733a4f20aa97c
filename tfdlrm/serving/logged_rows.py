"""Rows of logged requests, as text by column."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from google.protobuf.message import DecodeError
from tensorflow.core.example.example_pb2 import Example
from tensorflow_serving.apis.inference_pb2 import InferenceResult
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tensorflow_serving.apis.regression_pb2 import RegressionResult

from pipelines.logs.columns import Columns
from tfdlrm.base.errors import InputError
from tfdlrm.data.records import read_records
from tfdlrm.serving.data_types import FLOAT32, TEXT
from tfdlrm.serving.errors import ServingError, refuse
from tfdlrm.serving.tensors import from_proto

PROBABILITY, TIME = "/probability", "/time"
"""Columns next to those of the log."""

_REMEDY = "the file is damaged, or no request log; collect the other files"

_REQUESTS_AT_ONCE = 4096
"""Labels that join the rows of one request are all read for it."""

Text = str | list[str] | None
Rows = dict[str, list[Text]]


@dataclass
class LoggedRows:
    """Reads the rows of logged requests to one model.

    Args:
        columns: The columns of the model's log.
        extra: Names of further features of Examples to read, which the model ignores.

    Attributes:
        num_requests: Number of requests read.
        num_skipped: Number of those without raw rows of this log, such as those that
            hold ids.
    """

    columns: Columns
    extra: Sequence[str] = ()
    num_requests: int = 0
    num_skipped: int = 0

    def read(self, path: Path) -> Iterator[pl.DataFrame]:
        """Read the rows in a file of `PredictionLog`s, those of many requests at once.

        Yields:
            A column of text for each feature of the log and each of `extra`, lists for
            values that come as lists, null where missing; and `PROBABILITY` and `TIME`.

        Raises:
            InputError: If the file is damaged or holds something else.
        """
        frames: list[pl.DataFrame] = []
        for number, payload in read_records(path, _REMEDY):
            try:
                log = PredictionLog.FromString(payload)
                frame = self._frame(log)
            except (DecodeError, ServingError, ValueError) as error:
                raise InputError(
                    f"{path}, record {number}: {error}; expected a PredictionLog, as "
                    "tfdlrm.serve writes it"
                ) from None
            self.num_requests += 1
            if frame is not None:
                frames.append(frame)
            if len(frames) == _REQUESTS_AT_ONCE:
                yield pl.concat(frames)
                frames = []
        if frames:
            yield pl.concat(frames)

    def _frame(self, log: PredictionLog) -> pl.DataFrame | None:
        """Return the rows of a request; `None` if it has none of the log's rows."""
        log_type = log.WhichOneof("log_type")
        if log_type == "predict_log":
            request, response = log.predict_log.request, log.predict_log.response
            rows = self._predict_rows(request.inputs)
            scores = _numbers(response.outputs, "probability")
        elif log_type in ("classify_log", "regress_log", "multi_inference_log"):
            request, response = (
                getattr(log, log_type).request,
                getattr(log, log_type).response,
            )
            rows = self._example_rows(request.input.example_list.examples)
            is_multi = log_type == "multi_inference_log"
            scores = _scores(response.results[0] if is_multi else response.result)
        elif log_type is None:
            refuse("it has no request")
        else:
            rows = None
        if rows is None:
            self.num_skipped += 1
            return None
        moment = datetime.fromtimestamp(log.log_metadata.timestamp_secs, UTC)
        frame = pl.DataFrame(rows, self._types())
        return frame.with_columns(
            pl.Series(PROBABILITY, scores or [None] * frame.height, pl.Float32),
            pl.lit(moment.strftime("%Y-%m-%dT%H:%M:%SZ")).alias(TIME),
        )

    def _predict_rows(self, inputs: Mapping[str, Any]) -> Rows | None:
        """Return the rows of a request to predict; `None` without raw rows."""
        if any(tensor.dtype != TEXT.number for tensor in inputs.values()):
            return None
        if set(inputs) == set(self.columns.raw_columns):
            return self._raw_rows(inputs)
        if len(inputs) != 1:
            return None
        (tensor,) = inputs.values()
        return self._example_rows(map(Example.FromString, _texts(tensor)))

    def _types(self) -> dict[str, Any]:
        return {
            **dict.fromkeys((*self.columns.raw_columns, *self.extra), pl.String()),
            **dict.fromkeys(self._listed, pl.List(pl.String)),
        }

    @property
    def _separators(self) -> dict[str, str | None]:
        """Text between the values of each multi-hot column; `None` for lists."""
        columns = self.columns
        return dict(zip(columns.multi_hot, columns.separators, strict=True))

    @property
    def _listed(self) -> list[str]:
        return [name for name, mark in self._separators.items() if mark is None]

    def _raw_rows(self, inputs: Mapping[str, Any]) -> Rows:
        """Return the rows of the signature `raw`."""
        rows: Rows = {}
        for name in self.columns.raw_columns:
            texts = _texts(inputs[name])
            if name in self._listed:
                rows[name] = [[text.decode() for text in row if text] for row in texts]
            else:
                rows[name] = [text.decode() or None for text in texts]
        num_rows = len(next(iter(rows.values())))
        return {**rows, **{name: [None] * num_rows for name in self.extra}}

    def _example_rows(self, examples: Iterable[Any]) -> Rows:
        names = (*self.columns.raw_columns, *self.extra)
        rows: Rows = {name: [] for name in names}
        for example in examples:
            features = example.features.feature
            for name in names:
                values = _values(features[name]) if name in features else []
                rows[name].append(self._text(name, values))
        return rows

    def _text(self, name: str, values: list[str]) -> Text:
        if name in self._listed:
            return values
        return (self._separators.get(name) or "").join(values) or None


def _values(feature: Any) -> list[str]:
    """Return the values of a feature of an Example as text."""
    field = feature.WhichOneof("kind")
    if field is None:
        return []
    values = getattr(feature, field).value
    if field == "bytes_list":
        return [value.decode() for value in values]
    if field == "float_list":  # the shortest text of the same float32; NaN is missing
        numbers = pl.Series(values, dtype=pl.Float32).fill_nan(None)
        return numbers.drop_nulls().cast(pl.String).to_list()
    return [str(value) for value in values]


def _texts(tensor: Any) -> list[Any]:
    texts: list[Any] = from_proto("raw", tensor, TEXT).tolist()
    return texts


def _numbers(outputs: Mapping[str, Any], name: str) -> list[float] | None:
    """Return the numbers of an output; `None` if the request did not ask for it."""
    if name not in outputs:
        return None
    numbers: list[float] = from_proto(name, outputs[name], FLOAT32).ravel().tolist()
    return numbers


def _scores(result: Any) -> list[float]:
    """Return the probabilities of a classifier's or a regressor's answer."""
    if isinstance(result, InferenceResult):
        result = getattr(result, result.WhichOneof("result"))
    if isinstance(result, RegressionResult):
        return [regression.value for regression in result.regressions]
    return [row.classes[-1].score for row in result.classifications]


def request_files(path: Path) -> list[Path]:
    """Return a file of logged requests, or those of a folder, the oldest first.

    Raises:
        InputError: If there is none.
    """
    if not path.is_dir():
        return [path]
    files = sorted(
        (file for file in path.rglob("*.tfrecord") if file.is_file()),
        key=lambda file: (file.stat().st_mtime_ns, file.name),
    )
    if not files:
        raise InputError(
            f"{path} has no file that ends in .tfrecord, expected the finished files "
            "of a request log"
        )
    return files
