"""Deep & Cross networks: explicit crosses of features next to a deep tower."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfdlrm.config.models import DCNConfig, DCNV2Config
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.layers import MLP, FeatureCross
from tfdlrm.models.click_model import ClickModel
from tfdlrm.models.parts import (
    build_layer,
    build_side_by_side,
    embeddings_of,
    side_by_side,
)


@keras.saving.register_keras_serializable("tfdlrm")
class DCN(ClickModel):
    """Click logits from crosses of the features and from a deep tower, in parallel.

    Args:
        embeddings: Layer from ids to vectors `(batch, features, dim)`, an
            `EmbeddingCollection`; `None` if there are no categorical features.
        cross_layers: Layers from the features `(batch, width)` and the output of the
            previous layer to `(batch, width)`; `FeatureCross` of either form.
        deep_mlp: Layer from the features to `(batch, units)`.
        head: Layer from the outputs of both, side by side, to `(batch, 1)`.

    Call arguments: see `DLRM`.

    Example:

    >>> import numpy as np
    >>> from tfdlrm.layers import EmbeddingCollection
    >>> model = DCN(
    ...     embeddings=EmbeddingCollection([100, 20], embedding_dim=8),
    ...     cross_layers=[FeatureCross("vector") for _ in range(6)],
    ...     deep_mlp=MLP([32, 16], final_activation="relu"),
    ...     head=MLP([1]),
    ... )
    >>> ids = np.array([[99, 0], [5, 19]])
    >>> dense = np.ones((2, 3), "float32")
    >>> inputs = {"dense_features": dense, "categorical_features": ids}
    >>> model(inputs).shape.as_list()
    [2, 1]

    Reference:
        [Wang et al., 2017](https://arxiv.org/abs/1708.05123), figure 1; version 2:
        [Wang et al., 2020](https://arxiv.org/abs/2008.13535), section 3.
    """

    PARTS = ("embeddings", "cross_layers", "deep_mlp", "head")

    def __init__(
        self,
        embeddings: keras.layers.Layer | None,
        cross_layers: Sequence[keras.layers.Layer],
        deep_mlp: keras.layers.Layer,
        head: keras.layers.Layer,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.embeddings = embeddings
        self.cross_layers = list(cross_layers)
        self.deep_mlp = deep_mlp
        self.head = head

    @classmethod
    def from_schema(
        cls, schema: FeatureSchema, config: DCNConfig | DCNV2Config | None = None
    ) -> "DCN":
        """Return a network for the columns of a data set, built and ready to train.

        Args:
            schema: Schema of the data set.
            config: Architecture; `None` means version 1 as in the DLRM's article.
        """
        config = config or DCNConfig()
        is_v2 = isinstance(config, DCNV2Config)
        model = cls(
            embeddings=embeddings_of(schema.vocabulary_sizes, config),
            cross_layers=[
                FeatureCross(
                    "matrix" if is_v2 else "vector",
                    config.rank if isinstance(config, DCNV2Config) else None,
                    name=f"cross_{index}",
                )
                for index in range(config.num_cross_layers)
            ],
            deep_mlp=MLP(
                config.deep_units,
                activation=config.activation,
                final_activation=config.activation,
                dropout=config.dropout,
                normalization=config.normalization,
                name="deep_mlp",
            ),
            head=MLP([1], name="head"),
            name=config.name,
        )
        model.build_for(schema)
        return model

    def build_parts(self, dense_shape: Any, ids_shape: Any) -> None:
        shape = build_side_by_side(self.embeddings, dense_shape, ids_shape)
        for layer in self.cross_layers:
            build_layer(layer, shape)
        _, deep_width = build_layer(self.deep_mlp, shape)
        build_layer(self.head, (shape[0], shape[1] + deep_width))

    def logits(self, dense: Any, ids: Any, training: bool | None) -> Any:
        features = side_by_side(self.embeddings, dense, ids)  # (batch, width)
        crossed = features
        for layer in self.cross_layers:
            crossed = layer(features, crossed)
        deep = self.deep_mlp(features, training=training)
        return self.head(ops.concatenate([crossed, deep], axis=1), training=training)
