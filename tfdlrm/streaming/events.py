"""Reads events of a Kafka topic, from given offsets on, with tensorflow-io."""

import logging
import queue
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tfdlrm.base.errors import InputError
from tfdlrm.base.remote_path import load_tensorflow_io

CHUNK_EVENTS = 1024
"""Events in a chunk; tensorflow-io reads as many from the broker at once."""

WAITING_CHUNKS = 4
"""Chunks that may wait for the model before reading pauses."""

TURN_EVENTS = 16 * CHUNK_EVENTS
"""Events read from a partition before the next partition's turn."""

POLL_SECONDS = 0.2
"""Pause before partitions without new events are read again."""

_CONNECT_SECONDS = 5
_TRIES = 3
_SETTINGS = (
    "enable.auto.commit=false",  # offsets are in the checkpoint, with the weights
    "fetch.wait.max.ms=100",
    "conf.topic.auto.offset.reset=error",  # never silently continue elsewhere
)
_URL = re.compile(r"kafka://(?P<servers>[^/\s]+)/(?P<name>[A-Za-z0-9._-]{1,249})")


@dataclass(frozen=True)
class Topic:
    """A topic of a Kafka cluster.

    Args:
        servers: Brokers to connect to first, `host:port`, separated by commas.
        name: Name of the topic.
        settings: More settings of librdkafka, such as `security.protocol=ssl`.

    Example:

    >>> Topic.from_url("kafka://broker:9092/clicks")
    Topic(servers='broker:9092', name='clicks', settings=())
    """

    servers: str
    name: str
    settings: tuple[str, ...] = ()

    @classmethod
    def from_url(cls, url: str, settings: tuple[str, ...] = ()) -> "Topic":
        """Return the topic of `kafka://host:port/topic`; the port defaults to 9092.

        Raises:
            InputError: If `url` is no such address, or a setting does not have the form
                `name=value`.
        """
        match = _URL.fullmatch(url)
        if not match:
            raise InputError(
                f"stream is {url!r}, expected kafka://HOST:PORT/TOPIC, several brokers "
                "separated by commas"
            )
        for setting in settings:
            if setting.count("=") != 1:
                raise InputError(f"kafka has {setting!r}, expected NAME=VALUE")
        brokers = [_with_port(broker) for broker in match["servers"].split(",")]
        return cls(",".join(brokers), match["name"], settings)

    def __str__(self) -> str:
        return f"kafka://{self.servers}/{self.name}"


def _with_port(broker: str) -> str:
    return broker if re.search(r":\d+$", broker) else f"{broker}:9092"


@dataclass(frozen=True)
class Chunk:
    """Consecutive events of a partition.

    Args:
        partition: Number of the partition.
        offset: Offset of the first event.
        messages: The events' bytes.
    """

    partition: int
    offset: int
    messages: list[bytes]

    def up_to(self, end: int) -> "Chunk":
        """Return the events whose offset is less than `end`."""
        messages = self.messages[: max(0, end - self.offset)]
        return Chunk(self.partition, self.offset, messages)


def partition_ends(topic: Topic) -> dict[int, int]:
    """Return the offset after the last event of each partition; 0 without events.

    tensorflow-io cannot report the number of partitions, so this function tries them
    one by one. The first partition that does not answer in three times 5 s is taken to
    be missing.

    Raises:
        InputError: If no broker answers, or there is no such topic.
    """
    tfio = load_tensorflow_io(str(topic))
    _require_broker(topic)
    ends: dict[int, int] = {}
    while (end := _partition_end(tfio, topic, len(ends))) is not None:
        ends[len(ends)] = end
    if not ends:
        raise InputError(f"{topic}: there is no such topic, or it does not answer")
    return ends


def _partition_end(tfio: Any, topic: Topic, partition: int) -> int | None:
    """Return the offset after the last event; `None` if there is no such partition."""
    import tensorflow as tf

    reason = ""
    for _ in range(_TRIES):
        try:
            # The constructor looks for the last event, for 5 s at most.
            dataset = tfio.IODataset.from_kafka(
                topic.name,
                partition=partition,
                start=0,
                stop=-1,
                servers=topic.servers,
                configuration=[*_SETTINGS, *topic.settings],
            )
            return int(dataset._stop)
        except tf.errors.OpError as error:
            reason = " ".join(error.message.split())
        if "No more messages" in reason:
            return 0
        time.sleep(POLL_SECONDS)  # its consumer may not have been ready
    if "Timed out" in reason or "nknown" in reason:
        return None
    raise InputError(f"{topic} partition {partition} cannot be read: {reason}")


def _require_broker(topic: Topic) -> None:
    reasons = []
    for broker in topic.servers.split(","):
        host, _, port = broker.rpartition(":")
        try:
            address = (host.strip("[]"), int(port))
            socket.create_connection(address, _CONNECT_SECONDS).close()
            return
        except OSError as error:
            reasons.append(f"{broker}: {error.strerror or error}")
    raise InputError(f"no broker of {topic} answers ({'; '.join(reasons)})")


class Events:
    """Reads the partitions of a topic in turn, each in its order.

    Partitions are read one at a time, because tensorflow-io's readers share their
    consumer. Offsets are counted, since tensorflow-io does not report them. So the
    topic must not be compacted, nor hold transactions, whose marks take offsets too.

    Args:
        topic: The topic.
        offsets: For each partition, the offset of the first event to read.
    """

    def __init__(self, topic: Topic, offsets: Mapping[int, int]) -> None:
        self._topic = topic
        self._tfio = load_tensorflow_io(str(topic))
        # Each new data set warns of functions that tensorflow-io calls.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        self._queue: queue.Queue[Chunk | Exception] = queue.Queue(WAITING_CHUNKS)
        # A reader that waits for a broker cannot be interrupted, only abandoned.
        threading.Thread(
            target=self._read_in_turn, args=(dict(offsets),), daemon=True
        ).start()

    def next(self, timeout: float) -> Chunk | None:
        """Return the next events of any partition; `None` after `timeout` seconds.

        Raises:
            InputError: If a partition cannot be read any more.
        """
        try:
            chunk = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    def _read_in_turn(self, offsets: dict[int, int]) -> None:
        try:
            while True:
                old_offsets = dict(offsets)
                for partition in offsets:
                    for messages in self._turn(partition, offsets[partition]):
                        offset = offsets[partition]
                        self._queue.put(Chunk(partition, offset, messages))
                        offsets[partition] += len(messages)
                if offsets == old_offsets:
                    time.sleep(POLL_SECONDS)
        except Exception as error:  # `next` raises it
            self._queue.put(error)

    def _turn(self, partition: int, offset: int) -> Iterator[list[bytes]]:
        """Yield one turn's messages from `offset` on, at most up to the present end."""
        import tensorflow as tf

        stream = self._tfio.IODataset.stream().from_kafka(
            self._topic.name,
            partition=partition,
            offset=offset,
            servers=self._topic.servers,
            configuration=[*_SETTINGS, *self._topic.settings],
        )
        # Limited by `take`: an iterator that is abandoned early would go on reading.
        chunks = stream.take(TURN_EVENTS).batch(CHUNK_EVENTS)
        try:
            for chunk in chunks.as_numpy_iterator():
                yield list(chunk.message)
        except tf.errors.OpError as error:
            reason = " ".join(error.message.split())
            if "Offset out of range" in reason:
                reason = (
                    f"it has none at {offset}, the earlier events were removed or "
                    "never written; for a run that has not learned from it, begin at "
                    "its end with --start latest"
                )
            raise InputError(
                f"{self._topic} partition {partition} cannot be read from offset "
                f"{offset} on: {reason}"
            ) from None
