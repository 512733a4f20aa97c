"""The size of a model, worked out from its settings alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from tfdlrm.config.model_columns import factorized_columns
from tfdlrm.config.models import (
    DCNConfig,
    DCNV2Config,
    DeepFMConfig,
    DLRMConfig,
    FMConfig,
    LogisticRegressionConfig,
    MFConfig,
    MLPConfig,
    ModelConfig,
    Normalization,
)
from tfdlrm.data.schema import FeatureSchema

NUM_BUCKETS = 80
"""Buckets of each dense feature that has a vector for each; see `BucketVectors`."""


@dataclass(frozen=True)
class Table:
    """An embedding table.

    Args:
        name: The feature.
        rows: Number of rows.
        dim: Width of a row.
    """

    name: str
    rows: int
    dim: int

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return self.rows * self.dim


@dataclass(frozen=True)
class Layers:
    """The parts of a model that are not tables.

    Args:
        parameters: Number of weights.
        widths: Activations of a row that the backward pass needs.
        products: Multiplications in matrix products for a row, forward.
        statistics: Weights that are moving statistics, which have no gradient.
    """

    parameters: int = 0
    widths: int = 0
    products: int = 0
    statistics: int = 0

    @property
    def trained(self) -> int:
        """Number of weights that have a gradient and an optimizer's state."""
        return self.parameters - self.statistics

    def __add__(self, other: "Layers") -> "Layers":
        return Layers(
            self.parameters + other.parameters,
            self.widths + other.widths,
            self.products + other.products,
            self.statistics + other.statistics,
        )


@dataclass(frozen=True)
class ModelSize:
    """Size of a model.

    Args:
        tables: Its tables.
        layers: All other parts.
    """

    tables: tuple[Table, ...]
    layers: Layers

    @property
    def parameters(self) -> int:
        """Weights of the model."""
        tables = sum(table.parameters for table in self.tables)
        return tables + self.layers.parameters

    def times(self, number: int) -> "ModelSize":
        """Return the size of several such models together."""
        if number == 1:
            return self
        tables = tuple(
            replace(table, name=f"{table.name} of member {member}")
            for member in range(1, number + 1)
            for table in self.tables
        )
        return ModelSize(tables, sum([self.layers] * (number - 1), self.layers))

    @property
    def operations(self) -> int:
        """Floating-point operations of a training step, for each row.

        Matrix products alone, two operations a weight; backward costs twice as much.
        """
        return 6 * self.layers.products


def model_size(schema: FeatureSchema, config: ModelConfig) -> ModelSize:
    """Return the size of the model that these settings build for a data set.

    Args:
        schema: The data set's columns.
        config: The model and its architecture.

    Raises:
        InputError: If the settings name columns that the data set does not have.

    Example:

    >>> from tfdlrm.data.schema import CategoricalFeature
    >>> columns = (CategoricalFeature("C1", 10), CategoricalFeature("C2", 5))
    >>> size = model_size(FeatureSchema(("I1",), columns), LogisticRegressionConfig())
    >>> size.parameters  # a weight for each id, one for I1, and a bias
    17
    """
    return _SIZES[type(config)](schema, config)


def _mlp(
    inputs: int, units: Sequence[int], normalization: Normalization | None = None
) -> Layers:
    sizes = list(pairwise([inputs, *units]))
    products = sum(n * width for n, width in sizes)
    widths = sum(units)
    layers = Layers(products + widths, widths, products)
    if normalization is None:
        return layers
    for width in units[:-1]:
        # Scales and shifts; the values before and after them.
        layers += Layers(parameters=2 * width, widths=2 * width)
        if normalization == "batch":
            # Means, variances and a count of rows, and no bias before them.
            layers += Layers(parameters=width + 1, statistics=2 * width + 1)
    return layers


def _tables(
    schema: FeatureSchema,
    dim: int,
    num_collisions: int | None = None,
    collision_threshold: int = 0,
) -> tuple[Table, ...]:
    def rows(size: int) -> int:
        if num_collisions is None or size < collision_threshold:
            return size
        return -(-size // num_collisions) + num_collisions

    return tuple(
        Table(feature.name, rows(feature.vocabulary_size), dim)
        for feature in schema.categorical_features
    )


def _look_up(num_features: int, dim: int) -> Layers:
    # Gathered, masked for ids that are none, and concatenated.
    return Layers(widths=3 * num_features * dim)


def _dlrm(schema: FeatureSchema, config: DLRMConfig) -> ModelSize:
    dim, num_features = config.embedding_dim, len(schema.categorical_features)
    layers, num_vectors, bottom = _look_up(num_features, dim), num_features, 0
    if schema.dense_features:
        units = [*config.bottom_mlp_units, dim]
        layers += _mlp(len(schema.dense_features), units, config.normalization)
        num_vectors, bottom = num_vectors + 1, dim
    buckets = _buckets(schema, config)
    num_vectors += len(buckets)
    layers += _look_up(len(buckets), dim)
    width = num_vectors * dim
    if config.interaction == "dot" and num_vectors > 1:
        pairs = num_vectors * (num_vectors + (1 if config.self_interaction else -1))
        width = pairs // 2 + bottom
        matrix = num_vectors**2
        layers += Layers(widths=matrix + pairs // 2, products=matrix * dim)
    layers += Layers(widths=width)
    layers += _mlp(width, [*config.top_mlp_units, 1], config.normalization)
    tables = _tables(schema, dim, config.num_collisions, config.collision_threshold)
    return ModelSize(tables + buckets, layers)


def _buckets(schema: FeatureSchema, config: DLRMConfig) -> tuple[Table, ...]:
    if config.dense_bucket_width is None:
        return ()
    dim = config.embedding_dim
    return tuple(
        Table(f"buckets of {name}", NUM_BUCKETS, dim) for name in schema.dense_features
    )


def _concatenate(schema: FeatureSchema, dim: int) -> tuple[int, Layers]:
    num_features = len(schema.categorical_features)
    width = len(schema.dense_features) + num_features * dim
    return width, _look_up(num_features, dim) + Layers(widths=width)


def _dcn(schema: FeatureSchema, config: DCNConfig | DCNV2Config) -> ModelSize:
    width, layers = _concatenate(schema, config.embedding_dim)
    kernel = width
    if isinstance(config, DCNV2Config):
        kernel = width**2 if config.rank is None else 2 * width * config.rank
    for _ in range(config.num_cross_layers):
        layers += Layers(kernel + width, 3 * width, kernel)
    layers += _mlp(width, config.deep_units, config.normalization)
    head = width + config.deep_units[-1]
    layers += Layers(widths=head) + _mlp(head, [1])
    return ModelSize(_tables(schema, config.embedding_dim), layers)


def _linear(schema: FeatureSchema, config: Any = None) -> ModelSize:
    num_dense, num_features = (
        len(schema.dense_features),
        len(schema.categorical_features),
    )
    layers = Layers(num_dense + 1, num_dense + 1, num_dense) + _look_up(num_features, 1)
    return ModelSize(_tables(schema, 1), layers)


def _fm(schema: FeatureSchema, config: FMConfig | DeepFMConfig) -> ModelSize:
    dim, num_dense = config.embedding_dim, len(schema.dense_features)
    linear = _linear(schema)
    num_features = len(schema.categorical_features)
    width = (num_dense + num_features) * dim
    layers = linear.layers + _look_up(num_features, dim)
    layers += Layers(parameters=num_dense * dim, widths=num_dense * dim + 2 * width)
    if isinstance(config, DeepFMConfig):
        layers += _mlp(width, [*config.deep_units, 1], config.normalization)
    return ModelSize(linear.tables + _tables(schema, dim), layers)


def _mf(schema: FeatureSchema, config: MFConfig) -> ModelSize:
    columns = factorized_columns(schema, config)
    features = [schema.categorical_features[column] for column in columns]
    tables = tuple(
        Table(feature.name, feature.vocabulary_size, dim)
        for dim in (config.embedding_dim, 1)
        for feature in features
    )
    return ModelSize(tables, Layers(parameters=1) + _look_up(2, config.embedding_dim))


def _embedding_mlp(schema: FeatureSchema, config: MLPConfig) -> ModelSize:
    width, layers = _concatenate(schema, config.embedding_dim)
    layers += _mlp(width, [*config.units, 1], config.normalization)
    return ModelSize(_tables(schema, config.embedding_dim), layers)


_SIZES: dict[type, Callable[[FeatureSchema, Any], ModelSize]] = {
    DLRMConfig: _dlrm,
    DCNConfig: _dcn,
    DCNV2Config: _dcn,
    FMConfig: _fm,
    DeepFMConfig: _fm,
    MFConfig: _mf,
    LogisticRegressionConfig: _linear,
    MLPConfig: _embedding_mlp,
}
