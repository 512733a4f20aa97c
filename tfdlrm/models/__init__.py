"""Models, each built from the layers in one short call."""

import keras

from tfdlrm.models.build import build_model
from tfdlrm.models.dcn import DCN
from tfdlrm.models.dlrm import DLRM
from tfdlrm.models.embedding_mlp import EmbeddingMLP
from tfdlrm.models.ensemble import Ensemble
from tfdlrm.models.fm import FM
from tfdlrm.models.logistic_regression import LogisticRegression
from tfdlrm.models.mf import MatrixFactorization

if keras.backend.backend() == "tensorflow":
    # A model in a `.keras` file has its optimizer, whose class Keras has to know.
    from tfdlrm import optimizers as _optimizers  # noqa: F401

__all__ = [
    "DCN",
    "DLRM",
    "FM",
    "EmbeddingMLP",
    "Ensemble",
    "LogisticRegression",
    "MatrixFactorization",
    "build_model",
]
