"""Batches from the events of a stream, each with the offsets that follow it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from pipelines.logs.json_rows import JsonRows, is_object
from tfdlrm.base.errors import InputError
from tfdlrm.data.block_format import LABEL_FIELD, ORIGIN
from tfdlrm.data.meaning import origin_problem
from tfdlrm.data.parsing import assemble, parse_records
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.raw_rows import RawFeatures
from tfdlrm.streaming.events import Chunk

_MARK_SPEC = {ORIGIN: tf.io.FixedLenFeature([], tf.string, default_value="")}

_BLOCK_START = b"\n"
"""First byte of every serialized `tf.train.Example` that is not empty."""


@dataclass(frozen=True)
class Batch:
    """Rows to predict and then to learn.

    Args:
        features: Features as in `tfdlrm.data`.
        labels: float32 `(rows, 1)`.
        offsets: For each partition of the rows, the offset after its last row.
        skipped: Number of bad events among the rows.
    """

    features: dict[str, Any]
    labels: np.ndarray
    offsets: dict[int, int]
    skipped: int = 0


@dataclass
class Batches:
    """Gathers events into batches.

    An event is a JSON object with one row of raw columns, or a block record as in the
    shards of a data set, whose rows become a separate batch. A block record with the
    fingerprint of a data set whose ids or labels mean something else is a bad event.

    Args:
        topic: Name of the stream, for messages.
        schema: Schema of the model's data set.
        features_of: Transforms and ids of that data set.
        batch_size: Rows of JSON in a batch.
        on_bad_event: Whether an event that cannot be read stops the stream (`stop`) or
            is left out (`skip`).
    """

    topic: str
    schema: FeatureSchema
    features_of: RawFeatures
    batch_size: int
    on_bad_event: Literal["stop", "skip"] = "stop"
    _waiting: list[tuple[int, int, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rows = JsonRows(self.features_of.columns)
        self._has_said_unmarked = False
        self._parse_block = tf.function(self._parse, reduce_retracing=True)

    def add(self, chunk: Chunk) -> Iterator[Batch]:
        """Add events, and yield the batches that they complete."""
        for offset, message in enumerate(chunk.messages, chunk.offset):
            if message.startswith(_BLOCK_START) and not is_object(message):
                yield from self.flush()
                yield self._block(chunk.partition, offset, message)
                continue
            self._waiting.append((chunk.partition, offset, message))
            if len(self._waiting) == self.batch_size:
                yield from self.flush()

    def flush(self) -> Iterator[Batch]:
        """Yield the rows that wait for a full batch as a smaller batch."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            yield self._json(waiting)

    def _json(self, events: list[tuple[int, int, bytes]]) -> Batch:
        frame, bad = self._rows.read([message for *_, message in events])
        if bad and self.on_bad_event == "stop":
            number, problem = min(bad.items())
            self._refuse(*events[number][:2], problem)
        labels = frame[self.features_of.columns.label].to_numpy()
        return Batch(
            self.features_of(frame),
            labels.astype(np.float32)[:, None],
            {partition: offset + 1 for partition, offset, _ in events},
            len(bad),
        )

    def _block(self, partition: int, offset: int, message: bytes) -> Batch:
        offsets = {partition: offset + 1}
        features: dict[str, Any] = {}
        labels = tf.zeros([0, 1])
        try:
            problem = self._origin_problem(message)
            if problem is None:
                features, labels = self._parse_block(tf.constant(message))
                problem = _problem(features, labels.numpy())
        except tf.errors.OpError as error:
            problem = " ".join(error.message.split())[:200]
        if problem is None:
            return Batch(features, labels.numpy(), offsets)
        if self.on_bad_event == "stop":
            self._refuse(partition, offset, problem)
        return Batch({}, np.zeros((0, 1), np.float32), offsets, skipped=1)

    def _origin_problem(self, message: bytes) -> str | None:
        """Return the problem with a record of another data set, if it is one."""
        mark_tensor = tf.io.parse_single_example(message, _MARK_SPEC)[ORIGIN]
        mark = mark_tensor.numpy().decode("ascii", "replace")
        if not mark and not self._has_said_unmarked:
            self._has_said_unmarked = True
            print(
                f"{self.topic} has block records without the fingerprint of their data "
                "set, as earlier releases wrote them: that their ids mean the same is "
                "not checked",
                flush=True,
            )
        return origin_problem(mark, self.schema)

    def _parse(self, message: tf.Tensor) -> Any:
        spec = {LABEL_FIELD.name: tf.io.FixedLenFeature([], tf.string)}
        label = tf.io.parse_single_example(message, spec)[LABEL_FIELD.name]
        num_rows = tf.strings.length(label) // LABEL_FIELD.num_bytes(1)
        # The model's data set may have shards of rows or Parquet.
        schema = replace(self.schema, record_format="block")
        features, labels = parse_records(schema, message[None], num_rows)
        return assemble(features), labels

    def _refuse(self, partition: int, offset: int, problem: str) -> None:
        raise InputError(
            f"{self.topic} partition {partition} offset {offset}: {problem}; expected "
            "a JSON object of raw columns, or a block record; fix the program that "
            "writes them, or leave such events out with --on_bad_event skip"
        )


def _problem(features: dict[str, Any], labels: np.ndarray) -> str | None:
    """Return the problem with the numbers of a block, if there is one."""
    bad_labels = labels[~np.isin(labels, (0, 1))]
    if len(bad_labels):
        return f"a label is {bad_labels[0]:g}, expected 0 or 1"
    if not np.isfinite(features["dense_features"]).all():
        return "a dense feature is not finite"
    return None
