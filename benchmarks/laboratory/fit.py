"""Time the steps of an ordinary `fit`, of Keras 3 or of Keras 2."""

import math
import time
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.laboratory.machine import memory_gb
from benchmarks.laboratory.measurement import Job, StepTime
from benchmarks.laboratory.timing import WARM_UP_STEPS, stopwatch_for

ENDLESS = 1_000_000


def as_dataset(features: dict[str, Any], labels: np.ndarray) -> tf.data.Dataset:
    """Return an endless data set of ready-made batches.

    Args:
        features: Arrays, or dictionaries of them, of shape `(batches, batch, …)`.
        labels: Array of shape `(batches, batch)`.
    """
    dataset = tf.data.Dataset.from_tensor_slices((features, labels))
    return dataset.repeat().prefetch(tf.data.AUTOTUNE)


def time_fit(model: Any, dataset: Any, callback_class: Any, job: Job) -> StepTime:
    """Time the training steps of a compiled model.

    One `fit` warms up and estimates the time. In the second one every epoch is a
    stretch of many steps, timed from its beginning to its end: a callback that is
    called between epochs only costs a step nothing.

    Args:
        model: Compiled model.
        dataset: Data set from `as_dataset`.
        callback_class: `LambdaCallback` of the model's own Keras.
        job: Job whose settings say how long to measure.
    """
    at_once = job.steps_per_execution
    warm_up_steps = math.ceil(WARM_UP_STEPS / at_once) * at_once
    starts: list[float] = []
    ends: list[float] = []
    stopwatch_callback = callback_class(
        on_epoch_begin=lambda epoch, logs: starts.append(time.perf_counter()),
        on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()),
    )
    fit = partial(model.fit, dataset, shuffle=False, verbose=0)
    # The first of the two epochs compiles.
    fit(epochs=2, steps_per_epoch=warm_up_steps, callbacks=[stopwatch_callback])
    guess = (ends[1] - starts[1]) / warm_up_steps

    stopwatch = stopwatch_for(guess, job.seconds, job.min_steps, at_once)
    losses: list[float] = []

    def end_of_epoch(epoch: int, logs: dict[str, Any]) -> None:
        model.stop_training = stopwatch.stop()
        losses.append(float(logs["loss"]))

    timer = callback_class(
        on_epoch_begin=lambda epoch, logs: stopwatch.start(), on_epoch_end=end_of_epoch
    )
    fit(epochs=ENDLESS, steps_per_epoch=stopwatch.stretch_steps, callbacks=[timer])
    return StepTime(stopwatch.ms, stopwatch.steps, losses[-1], memory_gb())
