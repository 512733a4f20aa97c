"""Keras 3 layers that stand on their own, in a DLRM or in any other model."""

from tfdlrm.layers.dot_interaction import DotInteraction
from tfdlrm.layers.embedding_collection import EmbeddingCollection
from tfdlrm.layers.mlp import MLP

__all__ = ["MLP", "DotInteraction", "EmbeddingCollection"]
