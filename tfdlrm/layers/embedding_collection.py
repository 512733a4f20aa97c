"""All embedding tables of a model, single-hot and multi-hot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tfdlrm.layers._devices import id_dtype
from tfdlrm.layers._fused_tables import FusedTables
from tfdlrm.layers._id_bags import IdBags
from tfdlrm.layers._id_forms import is_indices_and_offsets, is_shape, require_integers


@dataclass(frozen=True)
class _Group:
    """Features whose tables are fused.

    Args:
        positions: Which features of the collection.
        tables: Their tables.
        projection: Weight `(features, dim, embedding_dim)` from the tables' width to
            the common one, or `None` where they are equal.
    """

    positions: np.ndarray
    tables: FusedTables
    projection: Any


@keras.saving.register_keras_serializable("tfdlrm")
class EmbeddingCollection(keras.layers.Layer):
    """One embedding vector for each categorical feature of a row.

    Tables of the same width stand below one another in a single variable, so that a
    batch is one gather whatever the number of features. On TensorFlow the gather reads
    the touched rows only and its gradient is a `tf.IndexedSlices` of them; with an
    optimizer of `tfdlrm.optimizers` a training step costs O(batch), not O(table).

    A feature may have several ids in a row, a bag, whose vectors are combined into one;
    an empty bag gives a vector of zeros.

    Args:
        vocabulary_sizes: Number of ids of each feature.
        embedding_dim: Width of every vector.
        combiner: What becomes of a bag: `sum`; `mean`, by the sum of weights; or
            `sqrtn`, by the root of the sum of squared weights.
        table_dims: Width of each feature's table where it is to differ from
            `embedding_dim`; a learned matrix projects each to that width.
        num_collisions: Quotient-remainder trick: an id's vector is the product of row
            `id // num_collisions` of one table and row `id % num_collisions` of
            another. `None` gives each id a row of its own.
        collision_threshold: Vocabulary size from which on features use that trick.
        initial_bound: The initial vectors are uniform in ± this; 0 suits weights of a
            linear model. `None` means `1 / sqrt(vocabulary size)` of each feature.
        validate_ids: Whether an id outside its feature's vocabulary raises an error
            that names it. Otherwise such an id counts as absent: it gets a vector of
            zeros, never another feature's row. Needs the TensorFlow backend.

    Call arguments:
        ids: In one of four forms. Single-hot: integers of shape `(batch, features)`.
            Padded: `(batch, features, width)`, where negative ids are no ids. Ragged: a
            `tf.RaggedTensor` of shape `(batch, features, None)`. Indices and offsets: a
            pair of a list with the ids of each feature in one sequence and of integers
            `(features, batch)`, where in that sequence the bag of each row begins. The
            last two need the TensorFlow backend.
        weights: Weight of each id, in the form of `ids` (for the last form, the list
            alone); 1 when `None`.

    Returns:
        Tensor of shape `(batch, features, embedding_dim)`.

    Raises:
        ValueError: If a size or width is impossible, or `ids` has another number of
            features, is not of an integer type, or is a list or dictionary of columns
            or a sparse tensor; or `weights` are not one for each id.

    Example:

    >>> import numpy as np
    >>> embeddings = EmbeddingCollection(vocabulary_sizes=[10, 4], embedding_dim=3)
    >>> embeddings(np.array([[9, 3], [0, 0]])).shape.as_list()
    [2, 2, 3]
    >>> bags = np.array([[[1, 2], [3, -1]], [[-1, -1], [0, 0]]])
    >>> embeddings(bags).numpy()[1, 0].tolist()
    [0.0, 0.0, 0.0]

    Reference:
        [Naumov et al., 2019](https://arxiv.org/abs/1906.00091), section 2.1.1. Mixed
        widths: [Ginart et al., 2019](https://arxiv.org/abs/1909.11810), section 2.
        Quotient and remainder: [Shi et al., 2019](https://arxiv.org/abs/1909.02107).
    """

    def __init__(
        self,
        vocabulary_sizes: Sequence[int],
        embedding_dim: int,
        combiner: Literal["sum", "mean", "sqrtn"] = "sum",
        table_dims: Sequence[int] | None = None,
        num_collisions: int | None = None,
        collision_threshold: int = 0,
        initial_bound: float | None = None,
        validate_ids: bool = False,
        **kwargs: Any,
    ) -> None:
        # Without this, Keras would turn weights, and ids that come as float64, into the
        # compute dtype before the call.
        super().__init__(autocast=False, **kwargs)
        # XLA knows neither the sparse updates of a training step nor the checks of ids;
        # beside a GPU Keras would compile by it without being asked.
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self.vocabulary_sizes = [int(size) for size in vocabulary_sizes]
        self.embedding_dim = embedding_dim
        self.combiner = combiner
        self.table_dims = None if table_dims is None else [int(d) for d in table_dims]
        self.num_collisions = num_collisions
        self.collision_threshold = collision_threshold
        self.initial_bound = initial_bound
        self.validate_ids = validate_ids
        self._check_arguments()

    def _check_arguments(self) -> None:
        sizes, dims = self.vocabulary_sizes, self.table_dims
        if not sizes or min(sizes) < 1 or self.embedding_dim < 1:
            raise ValueError(
                f"Got vocabulary_sizes={sizes} and embedding_dim={self.embedding_dim}: "
                "expected one or more sizes >= 1 and a width >= 1."
            )
        if dims is not None and (len(dims) != len(sizes) or min(dims) < 1):
            raise ValueError(
                f"Got table_dims={dims}: expected {len(sizes)} widths >= 1, one for "
                "each vocabulary size."
            )
        if self.num_collisions is not None and self.num_collisions < 2:
            raise ValueError(
                f"Got num_collisions={self.num_collisions}: expected at least 2, or "
                "None for a row an id."
            )
        if self.combiner not in ("sum", "mean", "sqrtn"):
            raise ValueError(
                f"Got combiner={self.combiner!r}: expected 'sum', 'mean' or 'sqrtn'."
            )
        if self.validate_ids and keras.backend.backend() != "tensorflow":
            raise ValueError(
                "validate_ids=True needs the TensorFlow backend, this is "
                f"{keras.backend.backend()}: leave it off."
            )

    @property
    def num_features(self) -> int:
        """Number of features."""
        return len(self.vocabulary_sizes)

    @property
    def tables(self) -> list[keras.Variable]:
        """The variables that hold the tables, once the layer is built."""
        return [table for group in self._groups for table in group.tables.tables]

    def build(self, ids_shape: Any = None, weights_shape: Any = None) -> None:
        kinds: dict[tuple[int, bool], list[int]] = {}
        for position, size in enumerate(self.vocabulary_sizes):
            dim = self.table_dims[position] if self.table_dims else self.embedding_dim
            is_shared = (
                self.num_collisions is not None and size >= self.collision_threshold
            )
            kinds.setdefault((dim, is_shared), []).append(position)
        self._groups = [
            self._make_group(positions, dim, is_shared)
            for (dim, is_shared), positions in kinds.items()
        ]
        order = np.concatenate([group.positions for group in self._groups])
        self._places = np.argsort(order)  # of each feature, where groups are joined
        self.built = True

    def _make_group(self, positions: list[int], dim: int, is_shared: bool) -> _Group:
        kind = "quotient_remainder" if is_shared else "tables"
        tables = FusedTables(
            [self.vocabulary_sizes[position] for position in positions],
            dim,
            self.num_collisions if is_shared else None,
            self.initial_bound,
            dtype=self.dtype_policy,
            name=f"{kind}_{dim}",
        )
        setattr(self, tables.name, tables)  # Keras tracks layers by attribute
        projection = None
        if dim != self.embedding_dim:
            projection = self.add_weight(
                name=f"{tables.name}_projection",
                shape=(len(positions), dim, self.embedding_dim),
                initializer=keras.initializers.VarianceScaling(mode="fan_in"),
            )
            # A SavedModel holds what attributes lead to.
            setattr(self, f"{tables.name}_projection", projection)
        return _Group(np.array(positions), tables, projection)

    def call(self, ids: Any, weights: Any = None) -> Any:
        form: Callable[[Any, Any, int], IdBags]
        if is_indices_and_offsets(ids, self.name):
            self._require_tensorflow("ids as indices and offsets need")
            form = IdBags.of_indices_and_offsets
        elif hasattr(ids, "row_splits"):
            self._require_tensorflow("ragged ids need")
            form = IdBags.of_ragged
        else:
            ids = ops.convert_to_tensor(ids)
            self._check_shape(ids.shape)
            if len(ids.shape) == 2 and weights is None:
                return self._look_up_single(ids)
            form = IdBags.of_padded
        return self._look_up_bags(form(ids, weights, self.num_features))

    def _look_up_single(self, ids: Any) -> Any:
        ids, sizes = self._with_sizes(ids, np.arange(self.num_features))
        if keras.backend.backend() == "tensorflow":
            from tfdlrm.layers import _absent_ids as absent_ids

            if self.validate_ids:
                return self._vectors(absent_ids.refused(ids, sizes, self.name))
            is_absent = absent_ids.are_out_of_range(ids, sizes)
            vectors = self._vectors(absent_ids.with_zeros_where(ids, is_absent))
            return absent_ids.with_zeros_where(vectors, is_absent)
        is_valid = _is_valid(ids, sizes)
        mask = ops.cast(ops.expand_dims(is_valid, -1), self.compute_dtype)
        return self._vectors(ops.where(is_valid, ids, 0)) * mask

    def _vectors(self, ids: Any) -> Any:
        """Vectors `(batch, features, embedding_dim)` of ids that are all in range."""
        outputs = []
        for group in self._groups:
            mine = ids if len(self._groups) == 1 else _columns(ids, group.positions)
            vectors = group.tables(mine, np.arange(len(group.positions)))
            outputs.append(self._projected(vectors, group))
        return self._join(outputs)

    def _look_up_bags(self, bags: IdBags) -> Any:
        ids, sizes = self._with_sizes(bags.ids, bags.features)
        if self.validate_ids:
            from tfdlrm.layers import _absent_ids as absent_ids

            bags = replace(bags, ids=absent_ids.refused(ids, sizes, self.name))
        else:
            is_valid = _is_valid(ids, sizes)
            bags = replace(bags, ids=ops.where(is_valid, ids, 0)).keep(is_valid)
        outputs = []
        for group in self._groups:
            mine = bags.of_features(group.positions)
            vectors = group.tables(mine.ids, mine.features, in_sums=True)  # (ids, dim)
            combined = ops.cast(self._combined(mine, vectors), self.compute_dtype)
            outputs.append(self._projected(combined, group))
        return self._join(outputs)

    def _combined(self, bags: IdBags, vectors: Any) -> Any:
        """The vectors of each bag as one, `(batch, features, dim)`."""
        weights = bags.weights
        if weights is None and self.combiner == "sum":
            return bags.sum(vectors)
        if weights is None:
            weights = ops.ones_like(vectors[:, 0])
        weights = ops.expand_dims(ops.cast(weights, vectors.dtype), -1)
        sums = bags.sum(vectors * weights)
        if self.combiner == "sum":
            return sums
        if self.combiner == "mean":
            size = bags.sum(weights)
        else:
            size = ops.sqrt(bags.sum(ops.square(weights)))
        is_empty = size == 0
        return ops.where(is_empty, 0, sums / ops.where(is_empty, 1, size))

    def _require_tensorflow(self, what: str) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                f"{self.name}: {what} the TensorFlow backend, this is "
                f"{keras.backend.backend()}: give padded ids, (batch, features, width)."
            )

    def _projected(self, vectors: Any, group: _Group) -> Any:
        if group.projection is None:
            return vectors
        projection = ops.cast(group.projection, self.compute_dtype)
        return ops.einsum("bfd,fde->bfe", vectors, projection)

    def _join(self, outputs: list[Any]) -> Any:
        """The outputs of the groups as one, features in their own order."""
        if len(outputs) == 1:
            return outputs[0]
        return _columns(ops.concatenate(outputs, axis=1), self._places)

    def _with_sizes(self, ids: Any, features: Any) -> tuple[Any, Any]:
        """Ids as integers, and the vocabulary size of each one's feature."""
        require_integers(ids.dtype, self.name)
        is_narrow = keras.backend.standardize_dtype(ids.dtype) == "int32"
        dtype = id_dtype() if is_narrow else "int64"
        ids = ops.cast(ids, dtype)
        sizes = np.array(self.vocabulary_sizes, dtype)
        is_static = isinstance(features, np.ndarray)
        sizes = sizes[features] if is_static else ops.take(sizes, features)
        return ids, ops.convert_to_tensor(sizes)

    def compute_output_spec(self, ids: Any, weights: Any = None) -> Any:
        if not is_indices_and_offsets(ids, self.name):
            require_integers(ids.dtype, self.name)
        return super().compute_output_spec(ids, weights)

    def compute_output_shape(
        self, ids_shape: Any, weights_shape: Any = None
    ) -> tuple[int | None, int, int]:
        batch = ids_shape[0] if is_shape(ids_shape) else None
        return batch, self.num_features, self.embedding_dim

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "vocabulary_sizes": self.vocabulary_sizes,
            "embedding_dim": self.embedding_dim,
            "combiner": self.combiner,
            "table_dims": self.table_dims,
            "num_collisions": self.num_collisions,
            "collision_threshold": self.collision_threshold,
            "initial_bound": self.initial_bound,
            "validate_ids": self.validate_ids,
        }

    def _check_shape(self, shape: Any) -> None:
        if len(shape) not in (2, 3) or shape[1] != self.num_features:
            n = self.num_features
            raise ValueError(
                f"{self.name}: ids have shape {tuple(shape)}, expected (batch, {n}) or "
                f"(batch, {n}, width): it has {n} features."
            )


def _is_valid(ids: Any, sizes: Any) -> Any:
    return ops.logical_and(ids >= 0, ids < sizes)


def _columns(values: Any, positions: np.ndarray) -> Any:
    return ops.take(values, positions, axis=1)
