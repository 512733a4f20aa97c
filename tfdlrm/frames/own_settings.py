"""Training inside another program: set back what it sets, and draw nothing."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def kept_settings() -> Iterator[None]:
    """Give Python and NumPy their random numbers back, and Keras its precision."""
    import keras

    numpy_state, python_state = np.random.get_state(), random.getstate()
    policy = keras.config.dtype_policy()
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        keras.config.set_dtype_policy(policy)
