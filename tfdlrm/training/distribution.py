"""TensorFlow's distribution strategies by name, and agreement among their workers."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import tensorflow as tf

from tfdlrm.base.device_names import VISIBLE
from tfdlrm.base.devices import share_gpus
from tfdlrm.base.errors import InputError, LostWorkerError
from tfdlrm.config.cluster import VARIABLE, Cluster
from tfdlrm.data.reading_order import WorkerShare
from tfdlrm.layers.table_placement import tables_on

_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
"""Errors of a collective operation that has lost a worker."""


def strategy(name: str) -> tf.distribute.Strategy:
    """Return the strategy to create and train a model under, one per name and process.

    Args:
        name: `default` for one device; `mirrored` for all GPUs with the weights of
            each kept equal, on a machine without a GPU for all logical CPUs;
            `multi_worker` for all GPUs, or else the CPU, of each of the machines that
            `TF_CONFIG` names. The last has to be the first thing that TensorFlow does
            in its process, and waits for the others.

    Raises:
        InputError: If `TF_CONFIG` is not set or malformed, or its workers would share
            GPUs.
        LostWorkerError: If a worker does not start.
        ValueError: If there is no such strategy.
    """
    share_gpus()
    if name == "default":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        gpus = tf.config.list_logical_devices("GPU")
        devices = gpus or tf.config.list_logical_devices("CPU")
        return _mirrored(tuple(device.name for device in devices), bool(gpus))
    if name == "multi_worker":
        return _multi_worker(Cluster.from_environment())
    raise ValueError(
        f"strategy is {name!r}, expected 'default', 'mirrored' or 'multi_worker'."
    )


@cache
def _mirrored(names: tuple[str, ...], are_gpus: bool) -> tf.distribute.Strategy:
    """Return the strategy of this process: collectives of two would be mixed up."""
    return tf.distribute.MirroredStrategy(
        list(names),
        # TensorFlow's collectives on CPUs mix up the strategies of other processes too.
        cross_device_ops=None if are_gpus else tf.distribute.ReductionToOneDevice(),
    )


@cache
def _multi_worker(cluster: Cluster) -> tf.distribute.Strategy:
    """Return the strategy of this process, which cannot start a second one."""
    _require_own_gpus(cluster)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, tf.errors.OpError) as error:
        raise LostWorkerError(
            f"the {len(cluster.workers)} workers did not come together "
            f"({_first_line(error)}): start all of them, with one TF_CONFIG but "
            "for the index"
        ) from error


def _require_own_gpus(cluster: Cluster) -> None:
    """Refuse workers that would share the GPUs of one machine, as NCCL does later.

    Raises:
        InputError: If there are GPUs and no setting says which are this worker's.
    """
    workers = cluster.on_this_machine
    gpus = tf.config.list_physical_devices("GPU")
    if len(workers) < 2 or not gpus or VISIBLE in os.environ:
        return
    numbers = ", ".join(map(str, workers))
    raise InputError(
        f"the workers {numbers} of {VARIABLE} are on one machine and would share its "
        f"GPUs, expected one worker a GPU: give each its own, {VISIBLE}=0 to the first "
        f"and so on, or {VISIBLE}=-1 to all for the CPU; or train by one process with "
        "--strategy mirrored"
    )


@contextmanager
def tables_placed(strategy: tf.distribute.Strategy, where: str) -> Iterator[None]:
    """Place the embedding tables that are created inside the block.

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
    """Whether there are other processes, which run the same collectives in step."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def distributed(
    strategy: tf.distribute.Strategy,
    read: Callable[[WorkerShare | None], tf.data.Dataset],
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Return the batches for Keras' `fit`; each of several workers reads its own part.

    Args:
        strategy: The strategy.
        read: Returns the batches of a worker's part; `None` is all of them.
    """
    if not is_multi_worker(strategy):
        return read(None)

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        num_workers = context.num_input_pipelines
        devices = context.num_replicas_in_sync // num_workers
        return read(WorkerShare(context.input_pipeline_id, num_workers, devices))

    return strategy.distribute_datasets_from_function(of_worker)


def of_all_workers(strategy: tf.distribute.Strategy, number: int) -> list[int]:
    """Return a number of each worker, in order; wait for all of them.

    Args:
        strategy: The strategy; without other workers, there is one number.
        number: The number of this worker.
    """
    if not is_multi_worker(strategy):
        return [number]

    @tf.function
    def gather() -> tf.Tensor:
        own_number = tf.constant([number], tf.int64)
        return tf.distribute.get_replica_context().all_gather(own_number, axis=0)

    numbers = strategy.experimental_local_results(strategy.run(gather))[0].numpy()
    devices = strategy.num_replicas_in_sync // len(Cluster.from_environment().workers)
    return [int(number) for number in np.asarray(numbers)[::devices]]


def check_agreement(
    strategy: tf.distribute.Strategy, step: int, setting: str = "run_dir"
) -> None:
    """Refuse workers that would go on from different steps.

    Args:
        strategy: The strategy.
        step: Training steps of the checkpoint that this worker read.
        setting: The setting that names the directory of the checkpoint.

    Raises:
        InputError: Unless the steps of all workers are the same.
    """
    steps = of_all_workers(strategy, step)
    if len(set(steps)) > 1:
        raise InputError(
            f"the workers found checkpoints of different steps ({steps}): {setting} "
            "has to be the same directory for all of them, on a disk that they share"
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
    """Report the loss of a worker in one line.

    Raises:
        LostWorkerError: If a worker is gone.
    """
    try:
        yield
    except _LOST as error:
        if not is_multi_worker(strategy):
            raise
        raise LostWorkerError(
            f"{_lost(error, strategy)} is gone: fix it and give all workers the same "
            "command again; they go on from the last checkpoint"
        ) from error


def _lost(error: tf.errors.OpError, strategy: tf.distribute.Strategy) -> str:
    """Return the lost worker in TensorFlow's message, as TF_CONFIG names it."""
    resolver = strategy.cluster_resolver
    tasks = re.findall(r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)", str(error.message))
    own_task = resolver.task_type, str(resolver.task_id)
    lost_tasks = [task for task in tasks if task != own_task]
    return " ".join(lost_tasks[-1]) if lost_tasks else "a worker"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
