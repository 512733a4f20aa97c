"""Follow a stream to its end or until asked to stop, `tfdlrm.train --stream`."""

from collections.abc import Mapping

from tfdlrm.base.devices import share_gpus
from tfdlrm.base.errors import InputError
from tfdlrm.base.signals import StopRequest, stop_requests
from tfdlrm.config.stream import StreamConfig
from tfdlrm.streaming.events import Events, Topic, partition_ends
from tfdlrm.streaming.learner import Learner
from tfdlrm.training.run_directory import RunDirectory

_WAIT_SECONDS = 0.5


def first_offsets(
    topic: Topic, learned: Mapping[int, int], ends: Mapping[int, int], start: str
) -> dict[int, int]:
    """Return the offset of the first event to read from each partition.

    Args:
        topic: The stream.
        learned: For each partition, the offset after the last learned event.
        ends: For each partition, the offset after its last event.
        start: Where a new stream begins, `earliest` or `latest`.

    Raises:
        InputError: If a partition ends before the offset that was learned.
    """
    for partition, offset in learned.items():
        if offset > ends.get(partition, -1):
            state = f"ends at {ends[partition]}" if partition in ends else "is gone"
            raise InputError(
                f"{topic} partition {partition} {state}, but its events up to {offset} "
                "were learned: is it the same topic?"
            )
    # All events of a partition that was added later are new.
    at_end = start == "latest" and not learned
    starts = {partition: end if at_end else 0 for partition, end in ends.items()}
    return {**starts, **learned}


def learn(config: StreamConfig) -> None:
    """Learn from a stream until the process is asked to stop, or to the stream's end.

    Raises:
        InputError: If the run, the stream or one of its events cannot be used.
    """
    share_gpus()
    topic = Topic.from_url(config.stream, config.kafka)
    run = RunDirectory(config.run_dir)
    run.load_config()
    run.load_summary()
    with run.only_process():
        ends = partition_ends(topic)
        learner = Learner(config, run, topic)
        learner.offsets = first_offsets(topic, learner.offsets, ends, config.start)
        positions = [
            f"{partition} at {offset:,}"
            for partition, offset in sorted(learner.offsets.items())
        ]
        print(f"{topic}: partition {', '.join(positions)}", flush=True)
        with stop_requests() as request:
            _follow(config, learner, Events(topic, learner.offsets), ends, request)
        problem = learner.one_class_problem()
        if problem is not None and request.signal is None:
            # Not saved, so that the events can be learned once they are right.
            raise InputError(f"{topic}: {problem}")
        learner.save()
        if learner.skipped:
            print(f"{learner.skipped:,} events could not be read and were left out")
        if request.signal is not None:
            events = learner.validation.events
            print(f"stopped after {events:,} events, which are saved", flush=True)
            request.leave()
        try:
            learner.export()
        except OSError as error:
            raise InputError(
                f"the last version cannot be written ({error}): make room, and run "
                "the same command again; a checkpoint has what was learned"
            ) from error


def _follow(
    config: StreamConfig,
    learner: Learner,
    events: Events,
    ends: dict[int, int],
    request: StopRequest,
) -> None:
    """Learn event after event, until a signal or, with `stop_at_end`, to the `ends`."""
    positions = dict(learner.offsets)
    while request.signal is None:
        is_at_end = all(positions[partition] >= end for partition, end in ends.items())
        if config.stop_at_end and is_at_end:
            for batch in learner.batches.flush():
                learner.learn(batch)
            learner.validation.add_point()
            return
        chunk = events.next(_WAIT_SECONDS)
        if chunk is not None:
            if config.stop_at_end:
                chunk = chunk.up_to(ends[chunk.partition])
            positions[chunk.partition] = chunk.offset + len(chunk.messages)
            for batch in learner.batches.add(chunk):
                learner.learn(batch)
                learner.save_if_due()
        learner.save_if_due()
