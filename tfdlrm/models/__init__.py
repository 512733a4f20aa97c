"""Models, each assembled from the layers in one short call."""

from tfdlrm.models.dlrm import DLRM

__all__ = ["DLRM"]
