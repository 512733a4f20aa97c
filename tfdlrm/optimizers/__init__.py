"""Optimizers that touch only the embedding rows of a batch.

For the gradient of an embedding, Keras' own optimizers square the gradients of repeated
ids one by one instead of their sum, and compute over the whole table. These optimizers
sum repeated ids first, and read and write only the rows that the batch names. They are
ordinary Keras optimizers for the TensorFlow backend and take dense gradients, too.
"""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "tfdlrm.optimizers need the TensorFlow backend, this is "
        f"{keras.backend.backend()}: take those of keras.optimizers, or set "
        "KERAS_BACKEND=tensorflow"
    )

from tfdlrm.optimizers.adagrad import Adagrad
from tfdlrm.optimizers.composite import CompositeOptimizer
from tfdlrm.optimizers.lazy_adam import LazyAdam
from tfdlrm.optimizers.loss_scale import LossScaleOptimizer
from tfdlrm.optimizers.row_wise_adagrad import RowWiseAdagrad
from tfdlrm.optimizers.schedules import (
    WarmUpCosineDecay,
    WarmUpPiecewiseDecay,
    WarmUpPlateauDecay,
    WarmUpPolynomialDecay,
)
from tfdlrm.optimizers.sgd import SGD

__all__ = [
    "SGD",
    "Adagrad",
    "CompositeOptimizer",
    "LazyAdam",
    "LossScaleOptimizer",
    "RowWiseAdagrad",
    "WarmUpCosineDecay",
    "WarmUpPiecewiseDecay",
    "WarmUpPlateauDecay",
    "WarmUpPolynomialDecay",
]
