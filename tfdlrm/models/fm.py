"""Factorization machines, and DeepFM, which adds a deep tower."""

from typing import Any

import keras
from keras import ops

from tfdlrm.config.models import DeepFMConfig, FMConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.layers import MLP, DenseVectors, FactorizationMachine, LinearTerms
from tfdlrm.models.click_model import ClickModel
from tfdlrm.models.parts import build_layer, embeddings_of


@keras.saving.register_keras_serializable("tfdlrm")
class FM(ClickModel):
    """Click logits from linear terms and the products of every two features' vectors.

    The vector of a categorical feature is that of its id; the vector of a continuous
    feature is a learned vector times its value. Vectors of a bag of ids are added up
    first, so that ids of one bag do not interact with each other. With a deep tower on
    the same vectors the model is DeepFM.

    Args:
        linear: Layer from dense features and ids to `(batch, 1)`; `LinearTerms`.
        embeddings: Layer from ids to vectors `(batch, features, dim)`, an
            `EmbeddingCollection`; `None` if there are no categorical features.
        dense_vectors: Layer from dense features to vectors `(batch, n, dim)`, a
            `DenseVectors`; `None` if there are no dense features.
        interaction: Layer from all vectors `(batch, n + features, dim)` to
            `(batch, 1)`; a `FactorizationMachine`.
        deep_mlp: Layer from all vectors, side by side, to logits `(batch, 1)` that are
            added; `None` for a factorization machine only.

    Call arguments: see `DLRM`.

    Example:

    >>> from tfdlrm.layers import EmbeddingCollection
    >>> deepfm = FM(
    ...     linear=LinearTerms([100, 20]),
    ...     embeddings=EmbeddingCollection([100, 20], embedding_dim=8),
    ...     dense_vectors=DenseVectors(dim=8),
    ...     interaction=FactorizationMachine(),
    ...     deep_mlp=MLP([32, 1]),
    ... )

    Reference:
        [Rendle, 2010](https://doi.org/10.1109/ICDM.2010.127), equation 1. DeepFM:
        [Guo et al., 2017](https://arxiv.org/abs/1703.04247), section 2.1.
    """

    PARTS = ("linear", "embeddings", "dense_vectors", "interaction", "deep_mlp")

    def __init__(
        self,
        linear: keras.layers.Layer,
        embeddings: keras.layers.Layer | None,
        dense_vectors: keras.layers.Layer | None,
        interaction: keras.layers.Layer,
        deep_mlp: keras.layers.Layer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.linear = linear
        self.embeddings = embeddings
        self.dense_vectors = dense_vectors
        self.interaction = interaction
        self.deep_mlp = deep_mlp

    @classmethod
    def from_schema(
        cls, schema: FeatureSchema, config: FMConfig | DeepFMConfig | None = None
    ) -> "FM":
        """Return a model for the columns of a data set, built and ready to train.

        Args:
            schema: Schema of the data set.
            config: Architecture; `None` means a factorization machine only.
        """
        config = config or FMConfig()
        dim = config.embedding_dim
        deep_mlp = None
        if isinstance(config, DeepFMConfig):
            units = [*config.deep_units, 1]
            deep_mlp = MLP(
                units,
                activation=config.activation,
                dropout=config.dropout,
                normalization=config.normalization,
                name="deep_mlp",
            )
        model = cls(
            linear=LinearTerms(schema.vocabulary_sizes, name="linear"),
            embeddings=embeddings_of(schema.vocabulary_sizes, config),
            dense_vectors=DenseVectors(dim, config.initial_bound, name="dense_vectors")
            if schema.dense_features
            else None,
            interaction=FactorizationMachine(name="interaction"),
            deep_mlp=deep_mlp,
            name=config.name,
        )
        model.build_for(schema)
        return model

    def build_parts(self, dense_shape: Any, ids_shape: Any) -> None:
        if not self.linear.built:
            self.linear.build(dense_shape, ids_shape)
        shapes = []
        if self.dense_vectors is not None:
            shapes.append(build_layer(self.dense_vectors, dense_shape))
        if self.embeddings is not None:
            shapes.append(build_layer(self.embeddings, ids_shape))
        batch, _, dim = shapes[0]
        num_vectors = sum(features for _, features, _ in shapes)
        build_layer(self.interaction, (batch, num_vectors, dim))
        if self.deep_mlp is not None:
            build_layer(self.deep_mlp, (batch, num_vectors * dim))

    def logits(self, dense: Any, ids: Any, training: bool | None) -> Any:
        vectors = []
        if self.dense_vectors is not None:
            vectors.append(self.dense_vectors(dense))
        if self.embeddings is not None:
            vectors.append(self.embeddings(ids))
        vectors = ops.concatenate(vectors, axis=1)  # (batch, n + features, dim)
        logits = self.linear(dense, ids) + self.interaction(vectors)
        if self.deep_mlp is not None:
            _, num_vectors, dim = vectors.shape
            flat = ops.reshape(vectors, (-1, num_vectors * dim))
            logits += self.deep_mlp(flat, training=training)
        return logits
