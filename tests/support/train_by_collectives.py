"""Replicas that add up by the collectives that GPUs use: `train_by_collectives OUTPUT`.

A process has one such strategy: TensorFlow's collectives on CPUs mix up two of them.
"""

import sys

import numpy as np
import tensorflow as tf
from tensorflow.python.distribute.cross_device_ops import CollectiveAllReduce

from tests.support.train_as_worker import data_set, fit, make_model

OPTIMIZERS = ["Adagrad", "LazyAdam"]
BATCHES = [range(20), [20], range(21, 54), range(54, 56), range(56, 75), range(75, 105)]
"""Rows of uneven batches; a batch of a single row leaves a replica without any."""


def train(devices, name):
    """Train, and return the weights and the metrics of each epoch."""
    with devices.scope():
        model = make_model(name)
    history = fit(model, data_set(BATCHES).repeat())
    weights = dict(enumerate(model.get_weights()))
    return {f"{name}/{key}": value for key, value in {**history, **weights}.items()}


def main(output):
    (cpu,) = tf.config.list_physical_devices("CPU")
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
    devices = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert isinstance(devices.extended._cross_device_ops, CollectiveAllReduce)
    results = {}
    for name in OPTIMIZERS:
        results |= train(devices, name)
    np.savez(output, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
