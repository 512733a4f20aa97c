"""Settings of loading the versions of models."""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.eager import context

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError, require
from tfdlrm.serving.memory import VersionMemory

T = TypeVar("T")


@dataclass(frozen=True)
class Loading:
    """How versions of models are loaded and unloaded.

    Args:
        tags: Tags of the graph to load from a SavedModel.
        warm_up_runs: Number of times that each warm-up request is answered; 0 for no
            warm-up.
        max_retries: Further tries of a version that did not load.
        retry_seconds: Time between two tries.
        load_threads: Models that are loaded at the same time; 0 for one after another.
        unload_threads: Versions that are unloaded at the same time; 0 for any number.
        prefers_litert: Whether `model.tflite` is served where a version has one.
        drops_file_caches: Whether a loaded version's files leave the system's memory.
        session: Settings of TensorFlow's sessions; `None` for those of the process.
        memory: The memory of all loaded versions.
    """

    tags: tuple[str, ...] = (tf.saved_model.SERVING,)
    warm_up_runs: int = 1
    max_retries: int = 5
    retry_seconds: float = 60.0
    load_threads: int = 0
    unload_threads: int = 0
    prefers_litert: bool = False
    drops_file_caches: bool = False
    session: config_pb2.ConfigProto | None = None
    memory: VersionMemory = field(default_factory=VersionMemory, compare=False)

    def __post_init__(self) -> None:
        for flag, value in (
            ("num_request_iterations_for_warmup", self.warm_up_runs),
            ("max_num_load_retries", self.max_retries),
            ("num_load_threads", self.load_threads),
            ("num_unload_threads", self.unload_threads),
        ):
            require(value >= 0, flag, value, ">= 0")
        is_good = bool(self.tags) and all(self.tags)
        tags = ",".join(self.tags)
        require(
            is_good, "saved_model_tags", repr(tags), "tags such as serve or serve,gpu"
        )

    @property
    def runs_in_caller(self) -> bool:
        """Whether a model's operations run in the thread that calls the model.

        Handing each operation to a pool costs more than the operations of a small
        model, and large operations use threads anyway.
        """
        return self.session is None or self.session.inter_op_parallelism_threads <= 1

    @cached_property
    def unloading(self) -> AbstractContextManager[Any]:
        """A context in which as many versions are unloaded as may be at a time."""
        number = self.unload_threads
        return threading.BoundedSemaphore(number) if number else nullcontext()

    def for_models(self, function: Callable[[T], None], models: Iterable[T]) -> None:
        """Call a function that loads, for as many models at a time as are to be.

        Raises:
            Exception: The first of those that the function raises.
        """
        if not self.load_threads:
            for model in models:
                function(model)
            return
        with ThreadPoolExecutor(self.load_threads, "loading") as threads:
            list(threads.map(function, models))


def drop_file_caches(version: Path) -> None:
    """Tell the system that it need not keep the files of a version in memory."""
    if storage.is_remote(version):
        return
    for path in version.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def session_settings(
    base: config_pb2.ConfigProto | None,
    parallelism: int,
    intra_op: int,
    inter_op: int,
    gpu_memory_fraction: float,
) -> config_pb2.ConfigProto | None:
    """Return settings for TensorFlow's sessions; `None` if nothing is set.

    Args:
        base: Settings of `--tensorflow_session_config_file`; the others win.
        parallelism: Threads for both pools; 0 leaves the number to TensorFlow.
        intra_op: Threads of one operation.
        inter_op: Operations at the same time.
        gpu_memory_fraction: Share of a GPU's memory to take; 0 leaves it to TensorFlow.

    Raises:
        InputError: If a number is out of range, or threads are given twice.
    """
    numbers = {
        "tensorflow_session_parallelism": parallelism,
        "tensorflow_intra_op_parallelism": intra_op,
        "tensorflow_inter_op_parallelism": inter_op,
    }
    for name, number in numbers.items():
        require(number >= 0, name, number, ">= 0")
    is_share = 0 <= gpu_memory_fraction <= 1
    fraction = "per_process_gpu_memory_fraction"
    require(is_share, fraction, gpu_memory_fraction, "a number between 0 and 1")
    if parallelism and (intra_op or inter_op):
        raise InputError(
            "--tensorflow_session_parallelism sets the threads that "
            "--tensorflow_intra_op_parallelism and --tensorflow_inter_op_parallelism "
            "set: leave it or them out"
        )
    if base is None and not any([*numbers.values(), gpu_memory_fraction]):
        return None
    settings = config_pb2.ConfigProto()
    if base is not None:
        settings.CopyFrom(base)
    if intra_op or parallelism:
        settings.intra_op_parallelism_threads = intra_op or parallelism
    if inter_op or parallelism:
        settings.inter_op_parallelism_threads = inter_op or parallelism
    if gpu_memory_fraction:
        settings.gpu_options.per_process_gpu_memory_fraction = gpu_memory_fraction
    return settings


def complete(session: config_pb2.ConfigProto | None) -> config_pb2.ConfigProto:
    """Return settings for a session, with those of the process where nothing is set."""
    settings = config_pb2.ConfigProto()
    settings.CopyFrom(context.context().config)  # the devices that the process may use
    if session is not None:
        settings.MergeFrom(session)
    return settings


def tags_of(text: str) -> tuple[str, ...]:
    """Return the tags of `--saved_model_tags`."""
    return tuple(tag.strip() for tag in text.split(","))
