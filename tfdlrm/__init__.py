"""DLRM for TensorFlow and Keras: train, serve and reuse it.

The public names are loaded when they are first used, so `import tfdlrm` is quick:
`tfdlrm.layers`, `tfdlrm.models`, `tfdlrm.optimizers`, `tfdlrm.data`, the models
themselves, `tfdlrm.FeatureSchema` and `tfdlrm.read_split`.
"""

from importlib import import_module
from typing import Any

from tfdlrm.base.version import __version__

_PACKAGES = ("config", "data", "interop", "layers", "models", "optimizers")

_MODULES = {
    "DCN": "tfdlrm.models",
    "DLRM": "tfdlrm.models",
    "FM": "tfdlrm.models",
    "FeatureEncoder": "tfdlrm.frames.encoder",
    "EmbeddingMLP": "tfdlrm.models",
    "LogisticRegression": "tfdlrm.models",
    "MatrixFactorization": "tfdlrm.models",
    "FeatureSchema": "tfdlrm.data",
    "read_split": "tfdlrm.data",
}

__all__ = ["__version__", *_PACKAGES, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"tfdlrm.{name}")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
