"""From the name of a strategy to TensorFlow's own."""

import tensorflow as tf


def strategy(name: str) -> tf.distribute.Strategy:
    """The strategy to create and train a model under.

    Args:
        name: `default` for one device, `mirrored` for all GPUs with the weights of
            each kept equal; on a machine without a GPU, for all logical CPUs.

    Raises:
        ValueError: If there is no such strategy.
    """
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
    raise ValueError(f"strategy is {name!r}, expected 'default' or 'mirrored'.")
