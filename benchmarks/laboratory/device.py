"""The device that TensorFlow computes on in this process."""

import tensorflow as tf

from benchmarks.laboratory.measurement import CPU, Device


def has_gpu() -> bool:
    """Whether TensorFlow computes on a GPU here."""
    return bool(tf.config.list_physical_devices("GPU"))


def used() -> Device:
    """Return the first GPU with its peak memory so far, or else the CPU."""
    if not has_gpu():
        return CPU
    gpu = tf.config.list_physical_devices("GPU")[0]
    name = tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
    peak = tf.config.experimental.get_memory_info("GPU:0")["peak"]
    return Device(name, peak / 1e9)
