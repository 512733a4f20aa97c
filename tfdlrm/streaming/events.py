"""Events of a Kafka topic from given offsets on, read by tensorflow-io."""

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
"""Events handed over at once; tensorflow-io takes as many from the broker."""

WAITING_CHUNKS = 4
"""Chunks that wait for the model; then reading waits."""

TURN_EVENTS = 16 * CHUNK_EVENTS
"""Events of a partition before it is the turn of the next one."""

POLL_SECONDS = 0.2
"""How long partitions at their ends are left alone before they are asked again."""

_CONNECT_SECONDS = 5
_TRIES = 3
_SETTINGS = (
    "enable.auto.commit=false",  # offsets are in the checkpoint, with the weights
    "fetch.wait.max.ms=100",
    "conf.topic.auto.offset.reset=error",  # never go on elsewhere without a word
)
_URL = re.compile(r"kafka://(?P<servers>[^/\s]+)/(?P<name>[A-Za-z0-9._-]{1,249})")


@dataclass(frozen=True)
class Topic:
    """A topic of a Kafka cluster.

    Args:
        servers: Brokers to begin with, `host:port`, separated by commas.
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
        """The topic that `kafka://host:port/topic` names; the port is 9092 if absent.

        Raises:
            InputError: If it is no such address, or a setting has not the form
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
        brokers = [_with_port(each) for each in match["servers"].split(",")]
        return cls(",".join(brokers), match["name"], settings)

    def __str__(self) -> str:
        return f"kafka://{self.servers}/{self.name}"


def _with_port(broker: str) -> str:
    return broker if re.search(r":\d+$", broker) else f"{broker}:9092"


@dataclass(frozen=True)
class Chunk:
    """Consecutive events of a partition.

    Args:
        partition: Its number.
        offset: Offset of the first of them.
        messages: Their bytes.
    """

    partition: int
    offset: int
    messages: list[bytes]

    def up_to(self, end: int) -> "Chunk":
        """Those of the events whose offset is less than `end`."""
        kept = self.messages[: max(0, end - self.offset)]
        return Chunk(self.partition, self.offset, kept)


def partition_ends(topic: Topic) -> dict[int, int]:
    """For each partition of a topic the offset behind its last event; 0 if it has none.

    tensorflow-io has no way to ask how many there are, so they are tried one by one,
    and the first that does not answer in three times 5 s is taken not to be there.

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
    """The offset behind the last event; `None` where there is no such partition."""
    import tensorflow as tf

    reason = ""
    for _ in range(_TRIES):
        try:
            # It looks for the last event when it is made, for 5 s at most.
            found = tfio.IODataset.from_kafka(
                topic.name,
                partition=partition,
                start=0,
                stop=-1,
                servers=topic.servers,
                configuration=[*_SETTINGS, *topic.settings],
            )
            return int(found._stop)
        except tf.errors.OpError as error:
            reason = " ".join(error.message.split())
        if "No more messages" in reason:
            return 0
        time.sleep(POLL_SECONDS)  # its consumer may not have been ready to look
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

    One at a time, because the readers that tensorflow-io makes share their consumer.
    Offsets are counted, since it does not tell them: the topic may neither be compacted
    nor hold transactions, whose marks take offsets too.

    Args:
        topic: The topic.
        offsets: Of each partition the first event to read.
    """

    def __init__(self, topic: Topic, offsets: Mapping[int, int]) -> None:
        self._topic = topic
        self._tfio = load_tensorflow_io(str(topic))
        # Each data set that is made warns of functions that tensorflow-io calls.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        self._queue: queue.Queue[Chunk | Exception] = queue.Queue(WAITING_CHUNKS)
        # A reader that waits for a broker cannot be interrupted, only left behind.
        threading.Thread(
            target=self._read_in_turn, args=(dict(offsets),), daemon=True
        ).start()

    def next(self, timeout: float) -> Chunk | None:
        """The next events of any partition, or `None` if none come for so many seconds.

        Raises:
            InputError: If a partition cannot be read any more.
        """
        try:
            found = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(found, Exception):
            raise found
        return found

    def _read_in_turn(self, offsets: dict[int, int]) -> None:
        try:
            while True:
                before = dict(offsets)
                for partition in offsets:
                    for messages in self._turn(partition, offsets[partition]):
                        offset = offsets[partition]
                        self._queue.put(Chunk(partition, offset, messages))
                        offsets[partition] += len(messages)
                if offsets == before:
                    time.sleep(POLL_SECONDS)
        except Exception as error:  # to be raised where the events are used
            self._queue.put(error)

    def _turn(self, partition: int, offset: int) -> Iterator[list[bytes]]:
        """The messages from `offset` up to the present end, or some of them."""
        import tensorflow as tf

        stream = self._tfio.IODataset.stream().from_kafka(
            self._topic.name,
            partition=partition,
            offset=offset,
            servers=self._topic.servers,
            configuration=[*_SETTINGS, *self._topic.settings],
        )
        # Cut in the data set: an iterator that is left early would read on by itself.
        chunks = stream.take(TURN_EVENTS).batch(CHUNK_EVENTS)
        try:
            for chunk in chunks.as_numpy_iterator():
                yield list(chunk.message)
        except tf.errors.OpError as error:
            reason = " ".join(error.message.split())
            if "Offset out of range" in reason:
                reason = (
                    f"it has none at {offset}, the events before were removed or never "
                    "written; begin at its end with --start latest, for a run that has "
                    "not learned from it"
                )
            raise InputError(
                f"{self._topic} partition {partition} cannot be read from offset "
                f"{offset} on: {reason}"
            ) from None
