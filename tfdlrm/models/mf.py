"""Matrix factorization of two categorical columns, such as users and items."""

from typing import Any

import keras
from keras import ops

from tfdlrm.config.model_columns import factorized_columns
from tfdlrm.config.models import MFConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.layers import LinearTerms
from tfdlrm.layers._id_forms import are_columns, is_indices_and_offsets
from tfdlrm.layers._wide_sums import sum_dtype
from tfdlrm.models.click_model import ClickModel
from tfdlrm.models.parts import build_layer, embeddings_of


@keras.saving.register_keras_serializable("tfdlrm")
class MatrixFactorization(ClickModel):
    """Logits from the dot product of a user's and an item's vector, and their biases.

    Args:
        embeddings: Layer from two ids `(batch, 2)` to vectors `(batch, 2, dim)`; an
            `EmbeddingCollection`.
        biases: Layer from no dense features and these ids to the sum of their biases
            and a global bias, `(batch, 1)`; `LinearTerms`.
        columns: Positions of the user's and the item's column among the categorical
            features. All other features are ignored.

    Call arguments: see `DLRM`.

    Example:

    >>> from tfdlrm.layers import EmbeddingCollection
    >>> model = MatrixFactorization(
    ...     embeddings=EmbeddingCollection([1000, 200], embedding_dim=8),
    ...     biases=LinearTerms([1000, 200]),
    ...     columns=(0, 1),
    ... )

    Reference:
        [Koren et al., 2009](https://doi.org/10.1109/MC.2009.263), equation 4.
    """

    PARTS = ("embeddings", "biases")

    def __init__(
        self,
        embeddings: keras.layers.Layer,
        biases: keras.layers.Layer,
        columns: tuple[int, int],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.embeddings = embeddings
        self.biases = biases
        self.columns = tuple(columns)

    @classmethod
    def from_schema(
        cls, schema: FeatureSchema, config: MFConfig
    ) -> "MatrixFactorization":
        """Return a model of two columns of a data set, built and ready to train.

        Args:
            schema: Schema of the data set.
            config: The two columns, and the architecture.

        Raises:
            InputError: If the data set has no such categorical column.
        """
        columns = factorized_columns(schema, config)
        sizes = [schema.vocabulary_sizes[column] for column in columns]
        names = [schema.categorical_features[column].name for column in columns]
        model = cls(
            embeddings=embeddings_of(sizes, config, feature_names=names),
            biases=LinearTerms(sizes, names, name="biases"),
            columns=columns,
            name=config.name,
        )
        model.build_for(schema)
        return model

    def build_parts(self, dense_shape: Any, ids_shape: Any) -> None:
        batch = dense_shape[0]
        build_layer(self.embeddings, (batch, 2))
        if not self.biases.built:
            self.biases.build((batch, 0), (batch, 2))

    def order_ids(self, ids: dict[str, Any]) -> list[Any]:
        raise ValueError(
            f"{self.name}: categorical_features are a dictionary of {[*ids]}, expected "
            "a list of all columns or one tensor: a factorization takes two of them by "
            "position."
        )

    def logits(self, dense: Any, ids: Any, training: bool | None) -> Any:
        pair = _take_columns(ids, self.columns)  # (batch, 2)
        vectors = self.embeddings(pair)  # (batch, 2, dim)
        vectors = ops.cast(vectors, sum_dtype(vectors.dtype))
        product = ops.sum(vectors[:, 0] * vectors[:, 1], axis=1, keepdims=True)
        return product + ops.cast(self.biases(dense[:, :0], pair), product.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "columns": self.columns}


def _take_columns(ids: Any, columns: tuple[int, ...]) -> Any:
    """Return some columns of ids `(batch, features)`, or of bags of ids."""
    if is_indices_and_offsets(ids, "categorical_features"):
        indices, offsets = ids
        return [indices[column] for column in columns], _rows(offsets, columns)
    if are_columns(ids):
        return [ids[column] for column in columns]
    if hasattr(ids, "row_splits"):
        import tensorflow as tf

        return tf.concat([ids[:, column : column + 1] for column in columns], axis=1)
    return ops.take(ids, columns, axis=1)


def _rows(offsets: Any, columns: tuple[int, ...]) -> Any:
    return ops.take(ops.convert_to_tensor(offsets), columns, axis=0)
