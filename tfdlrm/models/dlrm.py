"""The Deep Learning Recommendation Model: the paper's figure 1, top to bottom."""

from typing import Any

import keras
from keras import ops

from tfdlrm.config import ModelConfig
from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.schema import FeatureSchema


@keras.saving.register_keras_serializable("tfdlrm")
class DLRM(keras.Model):
    """Click logits from continuous and categorical features.

    Args:
        embeddings: Layer from ids `(batch, features)` to vectors
            `(batch, features, dim)`; an `EmbeddingCollection`.
        bottom_mlp: Layer from dense features to one more vector `(batch, dim)`.
        interaction: Layer from all vectors `(batch, 1 + features, dim)` to their
            interactions `(batch, pairs)`; a `DotInteraction`.
        top_mlp: Layer from the bottom vector and the interactions to `(batch, 1)`.

    Call arguments:
        inputs: `{"dense_features": (batch, n) float, "categorical_features":
            (batch, features) integer}`.
        training: Whether dropout is on.

    Returns:
        Float32 logits of shape `(batch, 1)`; `keras.ops.sigmoid` turns them into
        probabilities.

    Example:

    >>> import numpy as np
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

    def __init__(
        self,
        embeddings: keras.layers.Layer,
        bottom_mlp: keras.layers.Layer,
        interaction: keras.layers.Layer,
        top_mlp: keras.layers.Layer,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.embeddings = embeddings
        self.bottom_mlp = bottom_mlp
        self.interaction = interaction
        self.top_mlp = top_mlp

    @classmethod
    def from_schema(
        cls, schema: FeatureSchema, config: ModelConfig | None = None
    ) -> "DLRM":
        """A DLRM sized for the columns of a data set, built and ready to train.

        Args:
            schema: The data set's columns.
            config: Architecture; the article's when `None`.
        """
        config = config or ModelConfig()
        model = cls(
            embeddings=EmbeddingCollection(
                schema.vocabulary_sizes, config.embedding_dim, name="embeddings"
            ),
            bottom_mlp=MLP(
                [*config.bottom_mlp_units, config.embedding_dim],
                final_activation="relu",
                name="bottom_mlp",
            ),
            interaction=DotInteraction(config.self_interaction, name="interaction"),
            top_mlp=MLP(
                [*config.top_mlp_units, 1], dropout=config.dropout, name="top_mlp"
            ),
            name="dlrm",
        )
        num_categorical = len(schema.categorical_features)
        model.build(
            {
                "dense_features": (None, len(schema.dense_features)),
                "categorical_features": (None, num_categorical),
            }
        )
        return model

    def build(self, input_shape: dict[str, tuple[int | None, ...]]) -> None:
        dense_shape = input_shape["dense_features"]
        ids_shape = input_shape["categorical_features"]
        _build(self.bottom_mlp, dense_shape)
        batch, dim = self.bottom_mlp.compute_output_shape(dense_shape)
        _build(self.embeddings, ids_shape)
        _, features, embedding_dim = self.embeddings.compute_output_shape(ids_shape)
        if dim != embedding_dim:
            raise ValueError(
                f"The bottom MLP ends at width {dim}, the embeddings have width "
                f"{embedding_dim}: dot products need the same width."
            )
        vectors_shape = (batch, 1 + features, dim)
        _build(self.interaction, vectors_shape)
        _, pairs = self.interaction.compute_output_shape(vectors_shape)
        _build(self.top_mlp, (batch, dim + pairs))

    def build_from_config(self, config: dict[str, Any]) -> None:
        self.build(config["input_shape"])

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        bottom = self.bottom_mlp(inputs["dense_features"], training=training)
        vectors = self.embeddings(inputs["categorical_features"])
        vectors = ops.concatenate([ops.expand_dims(bottom, 1), vectors], axis=1)
        pairs = self.interaction(vectors, training=training)  # (batch, pairs)
        logits = self.top_mlp(
            ops.concatenate([bottom, pairs], axis=1), training=training
        )
        return ops.cast(logits, "float32")  # (batch, 1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **{
                part: keras.saving.serialize_keras_object(getattr(self, part))
                for part in ("embeddings", "bottom_mlp", "interaction", "top_mlp")
            },
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "DLRM":
        parts = ("embeddings", "bottom_mlp", "interaction", "top_mlp")
        return cls(
            **{
                key: keras.saving.deserialize_keras_object(value, custom_objects)
                if key in parts
                else value
                for key, value in config.items()
            }
        )


def _build(layer: keras.layers.Layer, shape: Any) -> None:
    # A part may come built: shared with another model, or loaded from a file.
    if not layer.built:
        layer.build(shape)
