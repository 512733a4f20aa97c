"""A data set on disk, and batches from it; loads TensorFlow when batches are read."""

from typing import TYPE_CHECKING, Any

from tfdlrm.data.schema import CategoricalFeature, FeatureSchema

if TYPE_CHECKING:
    from tfdlrm.data.reading import read_split

__all__ = ["CategoricalFeature", "FeatureSchema", "read_split"]


def __getattr__(name: str) -> Any:
    if name == "read_split":
        from tfdlrm.data.reading import read_split

        return read_split
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
