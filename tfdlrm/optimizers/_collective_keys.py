"""Collective operations of a strategy, apart from those of other strategies."""

import threading
from itertools import count

import tensorflow as tf

# TensorFlow has no public names for them.
from tensorflow.python.distribute.cross_device_ops import CollectiveAllReduce
from tensorflow.python.distribute.cross_device_utils import CollectiveKeys

_FIRST_KEY = 1_000_000
_next_key = count(_FIRST_KEY).__next__
_lock = threading.Lock()


def use_own_keys(strategy: tf.distribute.Strategy) -> None:
    """Give the collective operations of a `MirroredStrategy` keys of their own.

    Every such strategy counts its operations from the same key, and the process keeps
    the kind of operation that a key had first. A model whose first operation gathers
    would then fail after a model of another strategy whose first one sums.
    """
    if not isinstance(strategy, tf.distribute.MirroredStrategy):
        return
    extended = strategy.extended
    operations = getattr(extended, "_collective_ops", None)
    if not isinstance(operations, CollectiveAllReduce):
        return
    with _lock:
        if extended._collective_keys._group_key > _FIRST_KEY:
            return
        keys = CollectiveKeys(group_key_start=_next_key())
        own_operations = CollectiveAllReduce(
            devices=extended._devices,
            group_size=len(extended._devices),
            options=extended._communication_options,
            collective_keys=keys,
        )
        for name in ("_cross_device_ops", "_inferred_cross_device_ops"):
            if getattr(extended, name, None) is operations:
                setattr(extended, name, own_operations)
        extended._collective_ops = own_operations
        extended._collective_keys = keys
