"""A Kafka broker on this machine: the mock cluster inside librdkafka.

It speaks Kafka's protocol over TCP, from a process of its own, and keeps the last 5 MB
of events of each partition in memory. The first use of a topic makes it, with four
partitions.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def kafka_broker() -> Iterator[str]:
    """Run a broker; yields its address."""
    broker = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert broker.stdout is not None
        yield broker.stdout.readline().strip()
    finally:
        broker.kill()
        broker.wait()


def produce(
    address: str, topic: str, messages: Sequence[bytes], partition: int = 0
) -> None:
    """Write messages to a partition of a topic."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": address, "linger.ms": 5})
    for message in messages:
        producer.produce(topic, message, partition=partition)
        producer.poll(0)
    producer.flush()


def main() -> None:
    from confluent_kafka import Producer

    cluster = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = cluster.list_topics(timeout=10).brokers.values()
    print(f"{broker.host}:{broker.port}", flush=True)
    os.read(0, 1)  # until the test is over


if __name__ == "__main__":
    main()
