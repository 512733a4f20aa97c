"""All embedding tables of a model, single-hot and multi-hot."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tfdlrm.layers._devices import id_dtype
from tfdlrm.layers._fused_tables import FusedTables
from tfdlrm.layers._id_bags import IdBags
from tfdlrm.layers._id_columns import (
    check_names,
    find_feature,
    in_order,
    join_columns,
    split_frame,
)
from tfdlrm.layers._id_forms import (
    are_columns,
    is_indices_and_offsets,
    is_shape,
    require_integers,
)
from tfdlrm.layers._table_groups import TableGroup, TableGroups


@keras.saving.register_keras_serializable("tfdlrm")
class EmbeddingCollection(keras.layers.Layer):
    """One embedding vector for each categorical feature of a row.

    Tables of the same width are stacked in a single variable, so that a batch is one
    gather for any number of features. On TensorFlow the gather reads only the rows that
    the batch names, and its gradient is a `tf.IndexedSlices` of them; with an optimizer
    of `tfdlrm.optimizers` a training step costs O(batch), not O(table).

    A feature may have a bag of several ids in a row, whose vectors are combined into
    one; the vector of an empty bag is zeros.

    Args:
        vocabulary_sizes: Number of ids of each feature.
        embedding_dim: Width of every vector.
        combiner: How the weighted vectors of a bag become one: `sum`; `mean`, the sum
            divided by the sum of the weights; or `sqrtn`, the sum divided by the root
            of the sum of squared weights.
        table_dims: Width of the table of each feature; a learned matrix projects
            vectors of other widths to `embedding_dim`. `None` means `embedding_dim`.
        num_collisions: Quotient-remainder trick: an id's vector is the product of row
            `id // num_collisions` of one table and row `id % num_collisions` of
            another. `None` means a row for each id.
        collision_threshold: Smallest vocabulary size of features that use that trick.
        initial_bound: Initial vectors are uniform between minus and plus this; 0 suits
            weights of a linear model. `None` means `1 / sqrt(vocabulary size)` of each
            feature.
        embeddings_initializer: Keras initializer, called once for each table, instead
            of uniform values.
        embeddings_regularizer: Keras regularizer of the rows that a batch names, each
            row once however often it is named; rows outside the batch are neither read
            nor changed. Keras' `Embedding` adds the penalty of the whole table at every
            step instead. Needs the TensorFlow backend.
        feature_names: Name of each feature, for ids in a dictionary.
        validate_ids: Whether an id outside its feature's vocabulary raises an error
            that names it. Otherwise such an id counts as absent: its vector is zeros,
            never a row of another feature. Needs the TensorFlow backend.

    Call arguments:
        ids: Integers in one of five forms. Single-hot: shape `(batch, features)`.
            Padded: shape `(batch, features, width)`, with padding below 0. Ragged: a
            `tf.RaggedTensor` of shape `(batch, features, None)`. Indices and offsets: a
            pair of a list, with the ids of each feature in one sequence, and of
            integers `(features, batch)`, the positions in that sequence at which the
            bags of the rows begin. Ragged ids, and indices and offsets, need the
            TensorFlow backend. Columns: a list or a dictionary of one tensor for each
            feature, `(batch,)`, `(batch, 1)`, padded `(batch, width)` or ragged
            `(batch, None)`. Without `feature_names` the first dictionary is read in its
            order, and later ones by its names.
        weights: Weight of each id, in the form of `ids` (for the last form, a list of
            sequences); `None` means 1.

    Returns:
        Tensor of shape `(batch, features, embedding_dim)`.

    Raises:
        ValueError: If a size or width is impossible; if `ids` has another number of
            features, is not of an integer type, lacks a column or has an unknown one,
            or is a sparse tensor; or if there is not one weight for each id.
        tf.errors.InvalidArgumentError: If an id is out of range and `validate_ids` is
            set.

    Example:

    >>> import numpy as np
    >>> embeddings = EmbeddingCollection(vocabulary_sizes=[10, 4], embedding_dim=3)
    >>> embeddings(np.array([[9, 3], [0, 0]])).shape.as_list()
    [2, 2, 3]
    >>> bags = np.array([[[1, 2], [3, -1]], [[-1, -1], [0, 0]]])
    >>> embeddings(bags).numpy()[1, 0].tolist()
    [0.0, 0.0, 0.0]
    >>> columns = [np.array([9, 0]), np.array([3, 0])]  # or a dictionary of them
    >>> embeddings(columns).shape.as_list()
    [2, 2, 3]

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
        embeddings_initializer: Any = None,
        embeddings_regularizer: Any = None,
        feature_names: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        # With autocast, Keras would cast weights, and ids that come as float64, to the
        # compute dtype before the call.
        super().__init__(autocast=False, **kwargs)
        # XLA has neither the sparse updates of a training step nor the checks of ids;
        # on a GPU Keras would use it by default.
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self.vocabulary_sizes = [int(size) for size in vocabulary_sizes]
        self.embedding_dim = embedding_dim
        self.combiner = combiner
        self.table_dims = (
            None if table_dims is None else [int(dim) for dim in table_dims]
        )
        self.num_collisions = num_collisions
        self.collision_threshold = collision_threshold
        self.initial_bound = initial_bound
        self.validate_ids = validate_ids
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.embeddings_regularizer = keras.regularizers.get(embeddings_regularizer)
        self.feature_names = check_names(feature_names, len(self.vocabulary_sizes))
        self._quantized_tables: tuple[str, ...] = ()  # as saved
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
        if self.embeddings_initializer is not None and self.initial_bound is not None:
            raise ValueError(
                f"Got initial_bound={self.initial_bound} and embeddings_initializer: "
                "expected one of them."
            )
        for name in ("validate_ids", "embeddings_regularizer"):
            if getattr(self, name) and keras.backend.backend() != "tensorflow":
                raise ValueError(
                    f"{name} needs the TensorFlow backend, this is "
                    f"{keras.backend.backend()}: leave it off."
                )

    @property
    def num_features(self) -> int:
        """Return the number of features."""
        return len(self.vocabulary_sizes)

    @property
    def groups(self) -> list[TableGroup]:
        """The features whose tables are fused, once the layer is built."""
        return self._groups.groups

    @property
    def tables(self) -> list[keras.Variable]:
        """The variables that hold the tables, once the layer is built."""
        return [table for group in self.groups for table in group.tables.tables]

    def build(self, ids_shape: Any = None, weights_shape: Any = None) -> None:
        self._remember_names(ids_shape)
        groups: dict[tuple[int, bool], list[int]] = {}
        for position, size in enumerate(self.vocabulary_sizes):
            dim = self.table_dims[position] if self.table_dims else self.embedding_dim
            is_shared = (
                self.num_collisions is not None and size >= self.collision_threshold
            )
            groups.setdefault((dim, is_shared), []).append(position)
        self._groups = TableGroups(
            [
                self._make_group(positions, dim, is_shared)
                for (dim, is_shared), positions in groups.items()
            ]
        )
        self.built = True

    def _make_group(
        self, positions: list[int], dim: int, is_shared: bool
    ) -> TableGroup:
        prefix = "quotient_remainder" if is_shared else "tables"
        name = f"{prefix}_{dim}"
        policy = self.dtype_policy
        if name in self._quantized_tables:
            policy = keras.dtype_policies.get(f"int8_from_{policy.name}")
        tables = FusedTables(
            [self.vocabulary_sizes[position] for position in positions],
            dim,
            self.num_collisions if is_shared else None,
            self.initial_bound,
            self.embeddings_initializer,
            dtype=policy,
            name=name,
        )
        setattr(self, tables.name, tables)  # Keras tracks layers by attribute
        projection = None
        if dim != self.embedding_dim:
            projection = self.add_weight(
                name=f"{tables.name}_projection",
                shape=(len(positions), dim, self.embedding_dim),
                initializer=keras.initializers.VarianceScaling(mode="fan_in"),
            )
            # A SavedModel holds only variables that attributes lead to.
            setattr(self, f"{tables.name}_projection", projection)
        return TableGroup(np.array(positions), tables, projection)

    def __call__(self, ids: Any, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(split_frame(ids), *args, **kwargs)

    def call(self, ids: Any, weights: Any = None) -> Any:
        read: Callable[[Any, Any, int], IdBags]
        if are_columns(ids):
            self._remember_names(ids)
            features = self.feature_names, self.num_features
            ids, weights = join_columns(ids, weights, *features, self.name)
        if is_indices_and_offsets(ids, self.name):
            self._require_tensorflow("ids as indices and offsets need")
            read = IdBags.from_indices_and_offsets
        elif hasattr(ids, "row_splits"):
            self._require_tensorflow("ragged ids need")
            read = IdBags.from_ragged
        else:
            ids = ops.convert_to_tensor(ids)
            self._check_shape(ids.shape)
            if len(ids.shape) == 2 and weights is None:
                return self._look_up_single(ids)
            read = IdBags.from_padded
        return self._look_up_bags(read(ids, weights, self.num_features))

    def _remember_names(self, columns: Any) -> None:
        """Read later dictionaries by the names of the first one."""
        is_complete = isinstance(columns, dict) and len(columns) == self.num_features
        if is_complete and self.feature_names is None:
            self.feature_names = [*columns]

    def _look_up_single(self, ids: Any) -> Any:
        ids, sizes = self._with_sizes(ids, np.arange(self.num_features))
        if keras.backend.backend() == "tensorflow":
            from tfdlrm.layers import _absent_ids as absent_ids

            if self.validate_ids:
                ids = absent_ids.check_range(ids, sizes, self.name)
                self._add_penalty(ids, None)
                return self._groups.look_up(ids)
            is_absent = absent_ids.are_out_of_range(ids, sizes)
            self._add_penalty(ids, is_absent)
            vectors = self._groups.look_up(absent_ids.with_zeros_where(ids, is_absent))
            return absent_ids.with_zeros_where(vectors, is_absent)
        is_valid = _is_valid(ids, sizes)
        mask = ops.cast(ops.expand_dims(is_valid, -1), self.compute_dtype)
        return self._groups.look_up(ops.where(is_valid, ids, 0)) * mask

    def _look_up_bags(self, bags: IdBags) -> Any:
        ids, sizes = self._with_sizes(bags.ids, bags.features)
        if self.validate_ids:
            from tfdlrm.layers import _absent_ids as absent_ids

            bags = replace(bags, ids=absent_ids.check_range(ids, sizes, self.name))
        else:
            is_valid = _is_valid(ids, sizes)
            bags = replace(bags, ids=ops.where(is_valid, ids, 0)).keep(is_valid)
        if self.embeddings_regularizer is not None:
            self.add_loss(self._groups.penalty(bags, self.embeddings_regularizer))
        return self._groups.look_up_bags(bags, self.combiner)

    def _add_penalty(self, ids: Any, is_absent: Any) -> None:
        """Add the penalty of the rows that ids `(batch, features)` name."""
        if self.embeddings_regularizer is None:
            return
        if is_absent is not None:
            ids = ops.where(is_absent, ops.cast(-1, ids.dtype), ids)
        bags = IdBags.from_padded(ids, None, self.num_features)
        self.add_loss(self._groups.penalty(bags, self.embeddings_regularizer))

    def _require_tensorflow(self, reason: str) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                f"{self.name}: {reason} the TensorFlow backend, this is "
                f"{keras.backend.backend()}: give padded ids, (batch, features, width)."
            )

    def _with_sizes(self, ids: Any, features: Any) -> tuple[Any, Any]:
        """Return ids as integers, and the vocabulary size of the feature of each."""
        require_integers(ids.dtype, self.name)
        is_narrow = keras.backend.standardize_dtype(ids.dtype) == "int32"
        dtype = id_dtype() if is_narrow else "int64"
        ids = ops.cast(ids, dtype)
        sizes = np.array(self.vocabulary_sizes, dtype)
        is_static = isinstance(features, np.ndarray)
        sizes = sizes[features] if is_static else ops.take(sizes, features)
        return ids, ops.convert_to_tensor(sizes)

    def compute_output_spec(self, ids: Any, weights: Any = None) -> Any:
        if are_columns(ids):
            self._remember_names(ids)
            features = self.feature_names, self.num_features
            for column in in_order(ids, *features, title=f"{self.name}: ids"):
                require_integers(column.dtype, self.name)
        elif not is_indices_and_offsets(ids, self.name):
            require_integers(ids.dtype, self.name)
        return super().compute_output_spec(ids, weights)

    def compute_output_shape(
        self, ids_shape: Any, weights_shape: Any = None
    ) -> tuple[int | None, int, int]:
        shape = ids_shape
        if not is_shape(shape):  # that of the first column
            shape = next(iter(shape.values() if isinstance(shape, dict) else shape))
        batch = shape[0] if is_shape(shape) else None
        return batch, self.num_features, self.embedding_dim

    def table(self, feature: int | str) -> np.ndarray:
        """Return the vectors of all ids of one feature, once the layer is built.

        Args:
            feature: Position of the feature, or its name.

        Returns:
            Array `(vocabulary size, embedding_dim)`: what the layer returns for each
            id.

        Raises:
            ValueError: If there is no such feature, or the layer is not built.
        """
        position = self._position(feature)
        return self._groups.vectors_of(position, self.vocabulary_sizes[position])

    def table_rows(self, feature: int | str) -> tuple[keras.Variable, slice]:
        """Return the variable that holds the table of one feature, and its rows there.

        Args:
            feature: Position of the feature, or its name.

        Raises:
            ValueError: If there is no such feature, the layer is not built, or the
                feature has no rows of its own in one variable.
        """
        position = self._position(feature)
        rows = self._groups.rows_of(position, self.vocabulary_sizes[position])
        if rows is None:
            raise ValueError(
                f"{self.name}: the vectors of feature {feature!r} are products of rows "
                "(num_collisions), are quantized or lie on several devices, expected "
                "rows of one variable: read them by table()."
            )
        return rows

    def _position(self, feature: int | str) -> int:
        if not self.built:
            raise ValueError(
                f"{self.name} has no tables before it is built: call it on ids first."
            )
        return find_feature(feature, self.feature_names, self.num_features, self.name)

    def get_config(self) -> dict[str, Any]:
        config = {
            **super().get_config(),
            "vocabulary_sizes": [*self.vocabulary_sizes],
            "embedding_dim": self.embedding_dim,
            "combiner": self.combiner,
            "table_dims": None if self.table_dims is None else [*self.table_dims],
            "num_collisions": self.num_collisions,
            "collision_threshold": self.collision_threshold,
            "initial_bound": self.initial_bound,
            "validate_ids": self.validate_ids,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
            "embeddings_regularizer": keras.regularizers.serialize(
                self.embeddings_regularizer
            ),
            "feature_names": self.feature_names and [*self.feature_names],
        }
        quantized = self.quantized_tables
        return {**config, "quantized_tables": [*quantized]} if quantized else config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "EmbeddingCollection":
        config = dict(config)
        quantized = config.pop("quantized_tables", ())
        layer = cls(**config)
        layer.quantized_tables = tuple(quantized)
        return layer

    @property
    def quantized_tables(self) -> tuple[str, ...]:
        """Return the names of the groups whose tables are int8; set before `build`."""
        if not self.built:
            return self._quantized_tables
        tables = (group.tables for group in self.groups)
        return tuple(table.name for table in tables if table.quantization_mode)

    @quantized_tables.setter
    def quantized_tables(self, names: tuple[str, ...]) -> None:
        self._quantized_tables = names

    def _check_shape(self, shape: Any) -> None:
        if len(shape) not in (2, 3) or shape[1] != self.num_features:
            raise ValueError(
                f"{self.name}: ids have shape {tuple(shape)}, expected "
                f"(batch, {self.num_features}) or (batch, {self.num_features}, width): "
                f"it has {self.num_features} features."
            )


def _is_valid(ids: Any, sizes: Any) -> Any:
    return ops.logical_and(ids >= 0, ids < sizes)
