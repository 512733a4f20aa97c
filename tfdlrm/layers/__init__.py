"""Keras 3 layers that stand on their own, in a DLRM or in any other model."""

from tfdlrm.layers.batch_normalization import BatchNormalization
from tfdlrm.layers.bucket_vectors import BucketVectors
from tfdlrm.layers.dense_vectors import DenseVectors
from tfdlrm.layers.dot_interaction import DotInteraction
from tfdlrm.layers.embedding_collection import EmbeddingCollection
from tfdlrm.layers.factorization_machine import FactorizationMachine
from tfdlrm.layers.feature_cross import FeatureCross
from tfdlrm.layers.linear_terms import LinearTerms
from tfdlrm.layers.mlp import MLP

__all__ = [
    "MLP",
    "BatchNormalization",
    "BucketVectors",
    "DenseVectors",
    "DotInteraction",
    "EmbeddingCollection",
    "FactorizationMachine",
    "FeatureCross",
    "LinearTerms",
]
