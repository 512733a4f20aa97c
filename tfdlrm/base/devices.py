"""The GPUs that a command uses, settled before TensorFlow takes hold of them."""

from contextlib import suppress
from typing import Literal

from tfdlrm.base.errors import InputError

Device = Literal["cpu", "gpu"]
"""Where a command that scores computes."""


def count_gpus() -> int:
    """Return the number of GPUs that TensorFlow would train on.

    This decides, and not what a driver lists: TensorFlow may lack the libraries.
    """
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU"))


def share_gpus() -> None:
    """Let TensorFlow take memory of each GPU as it needs it, instead of all at once.

    What else runs on the machine finds room so. To be called before anything is
    computed: what exists already stays as it is.
    """
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        # RuntimeError: there is a context. ValueError: the user has divided this GPU.
        with suppress(RuntimeError, ValueError):
            tf.config.experimental.set_memory_growth(gpu, True)


def use_device(device: Device) -> None:
    """Settle where a command that scores computes, before it computes anything.

    On the processor a model may be larger than a GPU, and needs none that trains.

    Args:
        device: `cpu` leaves GPUs alone; `gpu` takes memory of them as it is needed.

    Raises:
        InputError: If it is `gpu` and TensorFlow sees none.
    """
    import tensorflow as tf

    if device == "gpu":
        if not count_gpus():
            raise InputError(
                "device is gpu, but TensorFlow sees no GPU here: python -m "
                "tfdlrm.doctor says why, or leave --device out to compute on the CPU"
            )
        share_gpus()
        return
    with suppress(RuntimeError):  # of a context, whose devices stay as they are
        tf.config.set_visible_devices([], "GPU")
