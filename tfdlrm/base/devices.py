"""The GPUs that a command uses, set before TensorFlow initializes them."""

from contextlib import suppress
from typing import Literal

from tfdlrm.base.errors import InputError

Device = Literal["cpu", "gpu"]
"""The device on which a command that scores computes."""


def count_gpus() -> int:
    """Return the number of GPUs that TensorFlow would train on.

    TensorFlow decides, not the driver's list of GPUs: it may lack the libraries.
    """
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU"))


def share_gpus() -> None:
    """Let TensorFlow take memory of each GPU as it needs it, instead of all at once.

    Other programs on the machine find room so. Call it before anything is computed: a
    GPU that TensorFlow already uses stays as it is.
    """
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        # RuntimeError: TensorFlow has a context. ValueError: the user divided this GPU.
        with suppress(RuntimeError, ValueError):
            tf.config.experimental.set_memory_growth(gpu, True)


def use_device(device: Device) -> None:
    """Set the device of a command that scores, before it computes anything.

    On the CPU a model may be larger than a GPU's memory, and a GPU that trains is left
    alone. On a GPU float32 is computed as float32, not as TensorFloat-32, so that both
    devices return the same scores.

    Args:
        device: `cpu` leaves GPUs alone; `gpu` takes their memory as it is needed.

    Raises:
        InputError: If `device` is `gpu` and TensorFlow sees none.
    """
    import tensorflow as tf

    if device == "gpu":
        if not count_gpus():
            raise InputError(
                "device is gpu, but TensorFlow sees no GPU here: python -m "
                "tfdlrm.doctor says why, or leave --device out to compute on the CPU"
            )
        share_gpus()
        tf.config.experimental.enable_tensor_float_32_execution(False)
        return
    with suppress(RuntimeError):  # a context keeps the devices that it has
        tf.config.set_visible_devices([], "GPU")
