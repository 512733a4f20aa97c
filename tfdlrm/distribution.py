"""From the name of a strategy to TensorFlow's own, and what its workers agree on."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from tfdlrm.cluster import Cluster
from tfdlrm.devices import share_gpus
from tfdlrm.errors import InputError, LostWorkerError
from tfdlrm.layers.table_placement import tables_on
from tfdlrm.reading_order import WorkerShare

_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
"""What a collective operation fails with where one of its workers is gone."""


def strategy(name: str) -> tf.distribute.Strategy:
    """The strategy to create and train a model under.

    Args:
        name: `default` for one device; `mirrored` for all GPUs with the weights of
            each kept equal, on a machine without a GPU for all logical CPUs;
            `multi_worker` for all GPUs, or else the CPU, of each of the machines that
            `TF_CONFIG` names. The last has to be the first thing that TensorFlow does
            in its process, and waits for the others.

    Raises:
        InputError: If `TF_CONFIG` is not set or malformed.
        LostWorkerError: If a worker does not come.
        ValueError: If there is no such strategy.
    """
    share_gpus()
    if name == "default":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        gpus = tf.config.list_logical_devices("GPU")
        if gpus:
            return tf.distribute.MirroredStrategy([device.name for device in gpus])
        cpus = tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy(
            [device.name for device in cpus],
            # TensorFlow's collectives on CPUs mix up two strategies of one process.
            cross_device_ops=tf.distribute.ReductionToOneDevice(),
        )
    if name == "multi_worker":
        cluster = Cluster.from_environment()
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except (RuntimeError, tf.errors.OpError) as error:
            raise LostWorkerError(
                f"the {len(cluster.workers)} workers did not come together "
                f"({_first_line(error)}): start all of them, with one TF_CONFIG but "
                "for the index"
            ) from error
    raise ValueError(
        f"strategy is {name!r}, expected 'default', 'mirrored' or 'multi_worker'."
    )


@contextmanager
def tables_placed(strategy: tf.distribute.Strategy, where: str) -> Iterator[None]:
    """Say where embedding tables that are made meanwhile are to lie.

    Args:
        strategy: The strategy of their model.
        where: `replicated`, `sharded` or `host`, as in `TrainConfig.tables`.
    """
    if where == "replicated":
        yield
        return
    host = tf.config.list_logical_devices("CPU")[0].name
    devices = strategy.extended.worker_devices if where == "sharded" else [host]
    with tables_on(devices):
        yield


def is_multi_worker(strategy: tf.distribute.Strategy) -> bool:
    """Whether there are other processes, with which collectives must be in step."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def distributed(
    strategy: tf.distribute.Strategy,
    read: Callable[[WorkerShare | None], tf.data.Dataset],
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """The batches for Keras' `fit`: of several workers, each reads its own part.

    Args:
        strategy: The strategy.
        read: From a worker's part, `None` where there is but one worker, to its
            batches.
    """
    if not is_multi_worker(strategy):
        return read(None)

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        num_workers = context.num_input_pipelines
        devices = context.num_replicas_in_sync // num_workers
        return read(WorkerShare(context.input_pipeline_id, num_workers, devices))

    return strategy.distribute_datasets_from_function(of_worker)


def of_all_workers(strategy: tf.distribute.Strategy, number: int) -> list[int]:
    """The numbers that the workers give, in order; waits for all of them.

    Args:
        strategy: The strategy; where it has no other workers, they are one.
        number: This worker's.
    """
    if not is_multi_worker(strategy):
        return [number]

    @tf.function
    def gather() -> tf.Tensor:
        mine = tf.constant([number], tf.int64)
        return tf.distribute.get_replica_context().all_gather(mine, axis=0)

    everyone = strategy.experimental_local_results(strategy.run(gather))[0].numpy()
    devices = strategy.num_replicas_in_sync // len(Cluster.from_environment().workers)
    return [int(each) for each in np.asarray(everyone)[::devices]]


def check_agreement(strategy: tf.distribute.Strategy, step: int) -> None:
    """Refuse workers that would go on from different steps.

    Args:
        strategy: The strategy.
        step: Training steps that this worker found done.

    Raises:
        InputError: Unless all workers found the same.
    """
    steps = of_all_workers(strategy, step)
    if len(set(steps)) > 1:
        raise InputError(
            f"the workers found checkpoints of different steps ({steps}): run_dir has "
            "to be the same directory for all of them, on a disk that they share"
        )


@contextmanager
def chief_first(strategy: tf.distribute.Strategy, is_chief: bool) -> Iterator[None]:
    """Let the chief do something before the other workers do it."""
    if not is_chief:
        of_all_workers(strategy, 0)
    yield
    if is_chief:
        of_all_workers(strategy, 0)


@contextmanager
def losing_workers(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Say in one line that a worker is gone, where that is what went wrong.

    Raises:
        LostWorkerError: If a worker is gone.
    """
    try:
        yield
    except _LOST as error:
        if not is_multi_worker(strategy):
            raise
        raise LostWorkerError(
            f"{_lost(error, strategy)} is gone: mend it and give all workers the same "
            "command again; they go on from the last checkpoint"
        ) from error


def _lost(error: tf.errors.OpError, strategy: tf.distribute.Strategy) -> str:
    """The worker that TensorFlow's message tells of, as TF_CONFIG names it."""
    here = strategy.cluster_resolver
    named = re.findall(r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)", str(error.message))
    others = [each for each in named if each != (here.task_type, str(here.task_id))]
    return " ".join(others[-1]) if others else "a worker"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
