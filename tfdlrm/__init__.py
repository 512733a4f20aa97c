"""DLRM for TensorFlow and Keras: train, serve and reuse it.

The public names are loaded when they are first used, so `import tfdlrm` is quick:
`tfdlrm.prepare`, `tfdlrm.train`, `tfdlrm.evaluate` and `tfdlrm.load` take a log to a
trained model; `tfdlrm.layers`, `tfdlrm.models` and `tfdlrm.optimizers` are for your own
models.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tfdlrm.base.version import __version__

if TYPE_CHECKING:
    from tfdlrm import config, data, interop, layers, models, optimizers
    from tfdlrm.config import PrepareConfig, TrainConfig
    from tfdlrm.data import FeatureSchema, read_split
    from tfdlrm.evaluate import evaluate
    from tfdlrm.frames.classifier import DLRMClassifier
    from tfdlrm.frames.encoder import FeatureEncoder
    from tfdlrm.frames.trained_model import TrainedModel, load
    from tfdlrm.models import (
        DCN,
        DLRM,
        FM,
        EmbeddingMLP,
        LogisticRegression,
        MatrixFactorization,
    )
    from tfdlrm.runs.preparing import prepare
    from tfdlrm.train import train

_MODULES = {
    "DCN": "tfdlrm.models",
    "DLRM": "tfdlrm.models",
    "DLRMClassifier": "tfdlrm.frames.classifier",
    "FM": "tfdlrm.models",
    "EmbeddingMLP": "tfdlrm.models",
    "FeatureEncoder": "tfdlrm.frames.encoder",
    "FeatureSchema": "tfdlrm.data",
    "LogisticRegression": "tfdlrm.models",
    "MatrixFactorization": "tfdlrm.models",
    "PrepareConfig": "tfdlrm.config",
    "TrainConfig": "tfdlrm.config",
    "TrainedModel": "tfdlrm.frames.trained_model",
    "load": "tfdlrm.frames.trained_model",
    "prepare": "tfdlrm.runs.preparing",
    "read_split": "tfdlrm.data",
}
"""The module of each name that is no module itself."""

__all__ = [
    "DCN",
    "DLRM",
    "FM",
    "DLRMClassifier",
    "EmbeddingMLP",
    "FeatureEncoder",
    "FeatureSchema",
    "LogisticRegression",
    "MatrixFactorization",
    "PrepareConfig",
    "TrainConfig",
    "TrainedModel",
    "__version__",
    "config",
    "data",
    "evaluate",
    "interop",
    "layers",
    "load",
    "models",
    "optimizers",
    "prepare",
    "read_split",
    "train",
]

if (_keras := sys.modules.get("keras")) and _keras.config.backend() == "tensorflow":
    import_module("tfdlrm.models")  # so that `keras.saving.load_model` knows them


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    if name in __all__:
        return import_module(f"tfdlrm.{name}")  # train and evaluate can be called
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
