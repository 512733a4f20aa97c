"""The Deep Learning Recommendation Model: the paper's figure 1, top to bottom."""

from typing import Any

import keras
from keras import ops

from tfdlrm.config.models import DLRMConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.layers import MLP, BucketVectors, DotInteraction
from tfdlrm.models.click_model import ClickModel
from tfdlrm.models.parts import build_layer, embeddings_of


@keras.saving.register_keras_serializable("tfdlrm")
class DLRM(ClickModel):
    """Click logits from continuous and categorical features.

    Args:
        embeddings: Layer from ids to vectors `(batch, features, dim)`, an
            `EmbeddingCollection`; `None` if there are no categorical features.
        bottom_mlp: Layer from dense features to one more vector `(batch, dim)`; `None`
            if there are no dense features.
        interaction: Layer from all vectors `(batch, 1 + features, dim)` to their
            interactions `(batch, pairs)`; a `DotInteraction`. With `None` the
            top MLP gets the vectors themselves, side by side.
        top_mlp: Layer from the bottom vector, if any, and the interactions to
            `(batch, 1)`.
        bucket_vectors: Layer from dense features to further vectors `(batch, n, dim)`
            that interact with all others, a `BucketVectors`; `None` as in the article.

    Call arguments:
        inputs: `{"dense_features": (batch, n) float, "categorical_features": ids}`,
            ids in any form that `EmbeddingCollection` takes, such as integers
            `(batch, features)` or a `tf.RaggedTensor` `(batch, features, None)`. If
            there are no features of a sort, their tensor has width 0.
        training: Whether dropout is on.

    Returns:
        Float32 logits of shape `(batch, 1)`; `keras.ops.sigmoid` turns them into
        probabilities.

    Example:

    >>> import numpy as np
    >>> from tfdlrm.layers import EmbeddingCollection
    >>> model = DLRM(
    ...     embeddings=EmbeddingCollection([100, 20], embedding_dim=8),
    ...     bottom_mlp=MLP([32, 8], final_activation="relu"),
    ...     interaction=DotInteraction(),
    ...     top_mlp=MLP([16, 1]),
    ... )
    >>> dense = np.ones((2, 3), "float32")
    >>> ids = np.array([[99, 0], [5, 19]])
    >>> inputs = {"dense_features": dense, "categorical_features": ids}
    >>> model(inputs).shape.as_list()
    [2, 1]

    Reference:
        [Naumov et al., 2019](https://arxiv.org/abs/1906.00091), section 2.
    """

    PARTS = ("embeddings", "bottom_mlp", "interaction", "top_mlp", "bucket_vectors")

    def __init__(
        self,
        embeddings: keras.layers.Layer | None,
        bottom_mlp: keras.layers.Layer | None,
        interaction: keras.layers.Layer | None,
        top_mlp: keras.layers.Layer,
        bucket_vectors: keras.layers.Layer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if embeddings is None and bottom_mlp is None:
            raise ValueError("Got neither embeddings nor a bottom MLP: expected one.")
        self.embeddings: Any = embeddings
        self.bottom_mlp: Any = bottom_mlp
        self.interaction: Any = interaction
        self.top_mlp = top_mlp
        self.bucket_vectors: Any = bucket_vectors

    @classmethod
    def from_schema(
        cls, schema: FeatureSchema, config: DLRMConfig | None = None
    ) -> "DLRM":
        """Return a DLRM for the columns of a data set, built and ready to train.

        Args:
            schema: Schema of the data set.
            config: Architecture; `None` means that of the article.
        """
        config = config or DLRMConfig()
        bottom_mlp = bucket_vectors = interaction = None
        if schema.dense_features:
            bottom_mlp = MLP(
                [*config.bottom_mlp_units, config.embedding_dim],
                activation=config.activation,
                final_activation=config.activation,
                normalization=config.normalization,
                name="bottom_mlp",
            )
            if config.dense_bucket_width is not None:
                bucket_vectors = BucketVectors(
                    config.embedding_dim, config.dense_bucket_width, name="buckets"
                )
        num_vectors = len(schema.categorical_features) + bool(schema.dense_features)
        if bucket_vectors is not None:
            num_vectors += len(schema.dense_features)
        if config.interaction == "dot" and num_vectors > 1:
            interaction = DotInteraction(config.self_interaction, name="interaction")
        model = cls(
            embeddings=embeddings_of(
                schema.vocabulary_sizes,
                config,
                num_collisions=config.num_collisions,
                collision_threshold=config.collision_threshold,
            ),
            bottom_mlp=bottom_mlp,
            interaction=interaction,
            top_mlp=MLP(
                [*config.top_mlp_units, 1],
                activation=config.activation,
                dropout=config.dropout,
                normalization=config.normalization,
                name="top_mlp",
            ),
            bucket_vectors=bucket_vectors,
            name="dlrm",
        )
        model.build_for(schema)
        return model

    def build_parts(self, dense_shape: Any, ids_shape: Any) -> None:
        num_vectors, dims = 0, []
        if self.bottom_mlp is not None:
            num_vectors, dims = 1, [build_layer(self.bottom_mlp, dense_shape)[-1]]
        for layer, shape in (
            (self.embeddings, ids_shape),
            (self.bucket_vectors, dense_shape),
        ):
            if layer is not None:
                _, features, dim = build_layer(layer, shape)
                num_vectors, dims = num_vectors + features, [*dims, dim]
        if len(set(dims)) > 1:
            raise ValueError(
                f"The bottom MLP ends at width {dims[0]}, the embeddings have width "
                f"{dims[-1]}: dot products need the same width."
            )
        width = num_vectors * dims[0]
        if self.interaction is not None:
            _, pairs = build_layer(self.interaction, (None, num_vectors, dims[0]))
            width = pairs + (dims[0] if self.bottom_mlp is not None else 0)
        build_layer(self.top_mlp, (None, width))

    def logits(self, dense: Any, ids: Any, training: bool | None) -> Any:
        vectors, outputs = [], []
        if self.bottom_mlp is not None:
            bottom = self.bottom_mlp(dense, training=training)
            vectors.append(ops.expand_dims(bottom, 1))
            outputs.append(bottom)
        if self.embeddings is not None:
            vectors.append(self.embeddings(ids))
        if self.bucket_vectors is not None:
            vectors.append(self.bucket_vectors(dense))
        vectors = ops.concatenate(vectors, axis=1)  # (batch, vectors, dim)
        if self.interaction is None:
            _, num_vectors, dim = vectors.shape
            outputs = [ops.reshape(vectors, (-1, num_vectors * dim))]
        else:
            outputs.append(self.interaction(vectors, training=training))
        return self.top_mlp(ops.concatenate(outputs, axis=1), training=training)
