"""All embedding tables of a model, fused into one variable."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("tfdlrm")
class TableUniform(keras.initializers.Initializer):
    """Uniform values in ±sqrt(1 / rows) for each of several stacked tables.

    Args:
        vocabulary_sizes: Rows of each table.
        seed: Seed; `None` draws one.

    Reference:
        `create_emb` of the reference implementation, github.com/facebookresearch/dlrm.
    """

    def __init__(
        self, vocabulary_sizes: Sequence[int], seed: int | None = None
    ) -> None:
        self.vocabulary_sizes = list(vocabulary_sizes)
        self.seed = keras.random.SeedGenerator(seed)

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Any:
        tables = [
            keras.random.uniform(
                (rows, *shape[1:]),
                minval=-math.sqrt(1 / rows),
                maxval=math.sqrt(1 / rows),
                dtype=dtype,
                seed=self.seed,
            )
            for rows in self.vocabulary_sizes
        ]
        return ops.concatenate(tables, axis=0)

    def get_config(self) -> dict[str, Any]:
        return {"vocabulary_sizes": self.vocabulary_sizes}


@keras.saving.register_keras_serializable("tfdlrm")
class EmbeddingCollection(keras.layers.Layer):
    """One embedding vector for each categorical feature of a row.

    The tables stand below one another in a single variable, so that a batch is one
    gather whatever the number of features. On TensorFlow the gather reads the touched
    rows only and its gradient is a `tf.IndexedSlices` of them; with an optimizer of
    `tfdlrm.optimizers` a training step costs O(batch), not O(table).

    Args:
        vocabulary_sizes: Number of ids of each feature.
        embedding_dim: Width of every vector.
        validate_ids: Whether an id outside its feature's vocabulary raises an error
            that names it. Otherwise such an id gets a vector of zeros, never another
            feature's row. Needs the TensorFlow backend.

    Call arguments:
        ids: Integer tensor of shape `(batch, features)`.

    Returns:
        Tensor of shape `(batch, features, embedding_dim)`.

    Raises:
        ValueError: If a size is below 1, or `ids` has not `features` columns or is
            not of an integer type.

    Example:

    >>> import numpy as np
    >>> embeddings = EmbeddingCollection(vocabulary_sizes=[10, 4], embedding_dim=3)
    >>> embeddings(np.array([[9, 3], [0, 0]])).shape.as_list()
    [2, 2, 3]

    Reference:
        [Naumov et al., 2019](https://arxiv.org/abs/1906.00091), section 2.1.1.
    """

    def __init__(
        self,
        vocabulary_sizes: Sequence[int],
        embedding_dim: int,
        validate_ids: bool = False,
        **kwargs: Any,
    ) -> None:
        # Without this, Keras would turn ids into the compute dtype before the call.
        super().__init__(autocast=False, **kwargs)
        if not vocabulary_sizes or min(vocabulary_sizes) < 1 or embedding_dim < 1:
            raise ValueError(
                f"Got vocabulary_sizes={list(vocabulary_sizes)} and embedding_dim="
                f"{embedding_dim}: expected one or more sizes >= 1 and a width >= 1."
            )
        if validate_ids and keras.backend.backend() != "tensorflow":
            raise ValueError(
                "validate_ids=True needs the TensorFlow backend, this is "
                f"{keras.backend.backend()}: leave it off."
            )
        self.vocabulary_sizes = list(vocabulary_sizes)
        self.embedding_dim = embedding_dim
        self.validate_ids = validate_ids

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self._check_shape(input_shape)
        num_rows = sum(self.vocabulary_sizes)
        # A fused table of more than 2^31 rows needs wider row numbers.
        self._index_dtype = "int32" if num_rows < 2**31 else "int64"
        starts = np.cumsum([0, *self.vocabulary_sizes[:-1]])
        self._starts = starts.astype(self._index_dtype)  # (features,)
        self._sizes = np.array(self.vocabulary_sizes, self._index_dtype)
        self.table = self.add_weight(
            name="table",
            shape=(num_rows, self.embedding_dim),
            initializer=TableUniform(self.vocabulary_sizes),
        )

    def call(self, ids: Any) -> Any:
        ids = ops.convert_to_tensor(ids)
        # Under a distribution strategy Keras traces a model with the mean of a batch,
        # which makes integers float64; unlike float32, that holds every id exactly.
        dtype = keras.backend.standardize_dtype(ids.dtype)
        if "int" not in dtype and dtype != "float64":
            raise ValueError(f"{self.name}: ids have dtype {dtype}, expected integers.")
        self._check_shape(ids.shape)
        ids = ops.cast(ids, self._index_dtype)
        is_valid = ops.logical_and(ids >= 0, ids < self._sizes)  # (batch, features)
        if self.validate_ids:
            ids = self._checked(ids, is_valid)
        rows = ops.where(is_valid, ids, 0) + self._starts
        vectors = ops.cast(_gather(self.table, rows), self.compute_dtype)
        mask = ops.cast(ops.expand_dims(is_valid, -1), self.compute_dtype)
        return vectors * mask  # (batch, features, embedding_dim)

    def _checked(self, ids: Any, is_valid: Any) -> Any:
        import tensorflow as tf

        places = tf.where(tf.logical_not(is_valid))[:1]  # the first one, if any
        message = tf.strings.format(
            self.name + ": (row, feature) {} has id {}, expected 0 to {}",
            (
                places,
                tf.gather_nd(ids, places),
                tf.gather(self._sizes, places[:, 1]) - 1,
            ),
        )
        with tf.control_dependencies([tf.Assert(tf.reduce_all(is_valid), [message])]):
            return tf.identity(ids)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple:
        self._check_shape(input_shape)
        return (*input_shape, self.embedding_dim)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "vocabulary_sizes": self.vocabulary_sizes,
            "embedding_dim": self.embedding_dim,
            "validate_ids": self.validate_ids,
        }

    def _check_shape(self, input_shape: tuple[int | None, ...]) -> None:
        expected = len(self.vocabulary_sizes)
        if len(input_shape) != 2 or input_shape[1] != expected:
            raise ValueError(
                f"{self.name}: ids have shape {tuple(input_shape)}, expected "
                f"(batch, {expected}): one id for each of the {expected} features."
            )


def _gather(table: Any, rows: Any) -> Any:
    """Rows of `table`, without reading the rest of it where the backend can."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # The variable itself, not its value: this becomes a resource gather.
        return tf.nn.embedding_lookup(table.value, rows)
    return ops.take(table, rows, axis=0)
