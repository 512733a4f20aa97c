"""A plain MLP on all features side by side, a baseline for other models."""

from typing import Any

import keras

from tfdlrm.config.models import MLPConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.layers import MLP
from tfdlrm.models.click_model import ClickModel
from tfdlrm.models.parts import (
    build_layer,
    build_side_by_side,
    embeddings_of,
    side_by_side,
)


@keras.saving.register_keras_serializable("tfdlrm")
class EmbeddingMLP(ClickModel):
    """Click logits from an MLP on the embeddings and the dense features, side by side.

    Args:
        embeddings: Layer from ids to vectors `(batch, features, dim)`, an
            `EmbeddingCollection`; `None` if there are no categorical features.
        mlp: Layer from the features to `(batch, 1)`.

    Call arguments: see `DLRM`.

    Example:

    >>> from tfdlrm.layers import EmbeddingCollection
    >>> model = EmbeddingMLP(EmbeddingCollection([100, 20], 8), MLP([32, 1]))

    Reference:
        [Covington et al., 2016](https://doi.org/10.1145/2959100.2959190), section 4.2.
    """

    PARTS = ("embeddings", "mlp")

    def __init__(
        self,
        embeddings: keras.layers.Layer | None,
        mlp: keras.layers.Layer,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.embeddings = embeddings
        self.mlp = mlp

    @classmethod
    def from_schema(
        cls, schema: FeatureSchema, config: MLPConfig | None = None
    ) -> "EmbeddingMLP":
        """Return a model for the columns of a data set, built and ready to train.

        Args:
            schema: Schema of the data set.
            config: Architecture; `None` means the default settings.
        """
        config = config or MLPConfig()
        model = cls(
            embeddings=embeddings_of(schema.vocabulary_sizes, config),
            mlp=MLP(
                [*config.units, 1],
                activation=config.activation,
                dropout=config.dropout,
                normalization=config.normalization,
                name="mlp",
            ),
            name=config.name,
        )
        model.build_for(schema)
        return model

    def build_parts(self, dense_shape: Any, ids_shape: Any) -> None:
        build_layer(
            self.mlp, build_side_by_side(self.embeddings, dense_shape, ids_shape)
        )

    def logits(self, dense: Any, ids: Any, training: bool | None) -> Any:
        features = side_by_side(self.embeddings, dense, ids)
        return self.mlp(features, training=training)
