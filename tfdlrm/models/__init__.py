"""Models, each built from the layers in one short call."""

from tfdlrm.models.build import build_model
from tfdlrm.models.dcn import DCN
from tfdlrm.models.dlrm import DLRM
from tfdlrm.models.embedding_mlp import EmbeddingMLP
from tfdlrm.models.fm import FM
from tfdlrm.models.logistic_regression import LogisticRegression
from tfdlrm.models.mf import MatrixFactorization

__all__ = [
    "DCN",
    "DLRM",
    "FM",
    "EmbeddingMLP",
    "LogisticRegression",
    "MatrixFactorization",
    "build_model",
]
