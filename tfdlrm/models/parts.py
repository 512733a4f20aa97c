"""Make, build and combine the parts that several models have."""

from collections.abc import Sequence
from typing import Any, Protocol

import keras
from keras import ops

from tfdlrm.layers import EmbeddingCollection


class EmbeddingSettings(Protocol):
    """The settings that every model with embeddings has."""

    @property
    def embedding_dim(self) -> int: ...

    @property
    def initial_bound(self) -> float | None: ...

    @property
    def embedding_l2(self) -> float: ...


def embeddings_of(
    vocabulary_sizes: Sequence[int], config: EmbeddingSettings, **kwargs: Any
) -> EmbeddingCollection | None:
    """Return embeddings of categorical columns, or `None` if there are no columns."""
    if not vocabulary_sizes:
        return None
    regularizer = None
    if config.embedding_l2:
        # Keras takes the mean over the rows of a batch: the vector of a frequent id is
        # often pulled to 0, and that of an id outside the batch is not touched.
        regularizer = keras.regularizers.L2(config.embedding_l2)
    return EmbeddingCollection(
        vocabulary_sizes,
        config.embedding_dim,
        initial_bound=config.initial_bound,
        activity_regularizer=regularizer,
        name="embeddings",
        **kwargs,
    )


def build_layer(layer: keras.layers.Layer, shape: Any) -> Any:
    """Build a layer, unless it is built already, and return its output shape."""
    # A part may be shared with another model, or loaded from a file.
    if not layer.built:
        layer.build(shape)
    return layer.compute_output_shape(shape)


def build_side_by_side(
    embeddings: keras.layers.Layer | None, dense_shape: Any, ids_shape: Any
) -> tuple[int | None, int]:
    """Build the embeddings and return the output shape of `side_by_side`."""
    batch, width = dense_shape
    if embeddings is None:
        return batch, width
    _, features, dim = build_layer(embeddings, ids_shape)
    return batch, width + features * dim


def side_by_side(embeddings: keras.layers.Layer | None, dense: Any, ids: Any) -> Any:
    """Return the embeddings of each row, one after another, then its dense features."""
    if embeddings is None:
        return dense
    vectors = embeddings(ids)
    flat = ops.reshape(vectors, (-1, vectors.shape[1] * vectors.shape[2]))
    # In mixed precision the embeddings are narrower than the inputs.
    return ops.concatenate([flat, ops.cast(dense, flat.dtype)], axis=1)
