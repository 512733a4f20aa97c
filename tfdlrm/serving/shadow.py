"""A share of the requests is also run on another version, and the answers compared."""

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

import grpc
import numpy as np
from tensorflow_serving.apis import model_pb2

from tfdlrm.base.errors import InputError
from tfdlrm.serving.batching import Batcher
from tfdlrm.serving.errors import ServingError
from tfdlrm.serving.large_work import in_thread_if_large
from tfdlrm.serving.metrics import Metrics
from tfdlrm.serving.models import Models
from tfdlrm.serving.requests import NamedArrays, in_order_of_inputs
from tfdlrm.serving.servable import Signature

log = logging.getLogger("tfdlrm.serving")

MOST_AT_A_TIME = 64
"""Most requests that the other version has at a time; more are dropped and counted."""

DROPPED, INCOMPARABLE = "DROPPED", "INCOMPARABLE"
"""Statuses next to those of gRPC: too many at a time, and no outputs to compare."""


@dataclass(frozen=True)
class ShadowSettings:
    """Which requests are also run on which version.

    Args:
        label: Label of the other version.
        share: Share of the requests, above 0 and up to 1.
    """

    label: str
    share: float

    @classmethod
    def parse(cls, text: str) -> "ShadowSettings":
        """Read `LABEL:SHARE`.

        Raises:
            InputError: If it is something else.

        Example:

        >>> ShadowSettings.parse("canary:0.05")
        ShadowSettings(label='canary', share=0.05)
        """
        label, _, number = text.rpartition(":")
        try:
            share = float(number)
        except ValueError:
            share = 0.0
        if not label or not 0 < share <= 1:
            raise InputError(
                f"shadow is {text!r}, expected a label of model_config_file and a "
                "share of the requests, such as canary:0.05"
            )
        return cls(label, share)


class Shadow:
    """Runs requests on another version in the background, and compares the answers.

    The runs have a queue and a thread of their own, so that no answer waits for them.

    Args:
        settings: Which requests and which version.
        models: The models that are served.
        batcher: Queue of these runs alone.
        metrics: Counters of the comparisons.
        max_rows: Most rows of a request.
    """

    def __init__(
        self,
        settings: ShadowSettings,
        models: Models,
        batcher: Batcher,
        metrics: Metrics,
        max_rows: int,
    ) -> None:
        self._settings = settings
        self._models = models
        self._batcher = batcher
        self._metrics = metrics
        self._max_rows = max_rows
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(
        self, signature: Signature, inputs: NamedArrays, outputs: NamedArrays
    ) -> None:
        """Run an answered request on the other version too, if chance has it.

        Args:
            signature: The signature that answered.
            inputs: The arrays of the request.
            outputs: The arrays of the answer.
        """
        if random.random() >= self._settings.share:
            return
        servable = signature.servable
        settings = self._models.settings_of(servable.name)
        if settings is None:
            return
        if settings.labels.get(self._settings.label) in (None, servable.version):
            return
        if len(self._tasks) >= MOST_AT_A_TIME:
            self._metrics.count_shadow(servable.name, DROPPED)
            return
        task = asyncio.create_task(self._run(signature, inputs, outputs))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End all runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._batcher.close()

    async def _run(
        self, signature: Signature, inputs: NamedArrays, outputs: NamedArrays
    ) -> None:
        name, start = signature.servable.name, time.perf_counter()
        status = grpc.StatusCode.OK.name
        try:
            spec = model_pb2.ModelSpec(name=name, version_label=self._settings.label)
            with self._models.use(spec) as servable:
                other = servable.signature(signature.name)
                others = await self._answer(other, inputs)
                seconds = time.perf_counter() - start
                size = sum(array.size for array in others.values())
                distances = await in_thread_if_large(size, compare, outputs, others)
                if distances is None:
                    status = INCOMPARABLE
                else:
                    versions = str(signature.servable.version), str(servable.version)
                    self._metrics.count_comparison(name, *versions, distances, seconds)
        except ServingError as error:
            status = error.code.name
        except Exception:
            log.exception("comparing versions of %s", name)
            status = grpc.StatusCode.INTERNAL.name
        self._metrics.count_shadow(name, status)

    async def _answer(self, signature: Signature, inputs: NamedArrays) -> NamedArrays:
        """Run a signature that may have other inputs than those of the request.

        Raises:
            ServingError: If it has.
        """
        if set(signature.inputs) != set(inputs):
            raise ServingError(
                grpc.StatusCode.INVALID_ARGUMENT, "the versions have other inputs"
            )
        rows = signature.check(inputs, self._max_rows)
        arrays = in_order_of_inputs(signature, inputs)
        answers = await self._batcher.run(signature, arrays, rows)
        return dict(zip(signature.fetched, answers, strict=True))


def compare(
    outputs: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]
) -> np.ndarray | None:
    """Return the absolute differences of all numbers that two answers share.

    Args:
        outputs: Outputs by name.
        others: Those of another version.

    Returns:
        Float64; infinite where just one of two numbers is not finite. `None` if the
        answers have no floats of one name and shape.

    Example:

    >>> ones = {"probability": np.array([0.25, 0.5]), "labels": np.array([1, 0])}
    >>> compare(ones, {"probability": np.array([0.75, 0.5])}).tolist()
    [0.5, 0.0]
    """
    distances = [
        _distances(array.astype(float).ravel(), others[name].astype(float).ravel())
        for name, array in outputs.items()
        if np.issubdtype(array.dtype, np.floating)
        and name in others
        and others[name].dtype == array.dtype
        and others[name].shape == array.shape
    ]
    return np.concatenate(distances) if distances else None


def _distances(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    are_equal = (values == others) | (np.isnan(values) & np.isnan(others))
    with np.errstate(invalid="ignore"):
        distances = np.where(are_equal, 0.0, np.abs(values - others))
    return np.where(np.isnan(distances), np.inf, distances)
