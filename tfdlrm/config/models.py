"""Architectures of the models, each a frozen dataclass with its own fields."""

from dataclasses import dataclass
from typing import Literal

from tfdlrm.base.errors import require
from tfdlrm.config.values import take_values

Activation = Literal[
    "relu",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "tanh",
    "sigmoid",
]
"""The activations of hidden layers, as Keras names them."""

Normalization = Literal["batch", "layer"]
"""The normalizations of hidden layers."""


@dataclass(frozen=True)
class DLRMConfig:
    """Deep Learning Recommendation Model.

    Args:
        name: Name of the model.
        embedding_dim: Width of every embedding vector.
        initial_bound: The initial vectors are uniform in ± this; null means
            `1 / sqrt(vocabulary size)` of each column.
        embedding_l2: Embedding regularisation: the loss of a row grows by this times
            the squared length of every vector that it looks up.
        bottom_mlp_units: Widths of the hidden layers of the bottom MLP; a last layer
            of width `embedding_dim` follows them.
        top_mlp_units: Widths of the hidden layers of the top MLP; a last layer of
            width 1 follows them.
        interaction: How the vectors enter the top MLP: `dot`, the dot products of every
            two; or `concatenate`, the vectors side by side.
        self_interaction: Whether each vector is also multiplied with itself.
        dense_bucket_width: Width of the buckets of dense features: each also has a
            vector for the bucket that its value falls in, which interacts with all
            others; null means no such vectors.
        dropout: Share of hidden top-MLP units dropped while training.
        num_collisions: Quotient-remainder trick, for tables that would not fit: an id's
            vector is the product of row `id // num_collisions` of one table and row
            `id % num_collisions` of another; null gives each id a row of its own.
        collision_threshold: Vocabulary size from which on features use that trick.
        normalization: Normalization of hidden layers, before their activation: `batch`
            over the rows of a batch, `layer` over the units of a row; null for neither.
        activation: Activation of all layers except the last, which gives logits.
    """

    name: Literal["dlrm"] = "dlrm"
    embedding_dim: int = 16
    initial_bound: float | None = None
    embedding_l2: float = 0.0
    bottom_mlp_units: tuple[int, ...] = (512, 256, 64)
    top_mlp_units: tuple[int, ...] = (512, 256)
    interaction: Literal["dot", "concatenate"] = "dot"
    self_interaction: bool = False
    dense_bucket_width: float | None = None
    dropout: float = 0.0
    num_collisions: int | None = None
    collision_threshold: int = 0
    normalization: Normalization | None = None
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        take_values(self)
        _check_embeddings(self.embedding_dim, self.initial_bound, self.embedding_l2)
        collisions, threshold = self.num_collisions, self.collision_threshold
        is_possible = collisions is None or collisions >= 2
        require(is_possible, "num_collisions", collisions, "null or >= 2")
        require(threshold >= 0, "collision_threshold", threshold, ">= 0")
        is_used = collisions is not None or threshold == 0
        require(is_used, "collision_threshold", threshold, "0 without num_collisions")
        _check_units("bottom_mlp_units", self.bottom_mlp_units)
        _check_units("top_mlp_units", self.top_mlp_units)
        _check_dropout(self.dropout)
        hidden_units = *self.bottom_mlp_units, *self.top_mlp_units
        _check_normalization(self.normalization, hidden_units)
        width = self.dense_bucket_width
        require(width is None or width > 0, "dense_bucket_width", width, "null or > 0")
        require(
            self.interaction == "dot" or not self.self_interaction,
            "self_interaction",
            self.self_interaction,
            "false where the interaction is concatenate",
        )


@dataclass(frozen=True)
class DCNConfig:
    """Deep & Cross network: cross layers with a vector each, next to a deep tower.

    Args:
        name: Name of the model.
        embedding_dim: Width of every embedding vector.
        initial_bound: The initial vectors are uniform in ± this; null means
            `1 / sqrt(vocabulary size)` of each column.
        embedding_l2: Embedding regularisation: the loss of a row grows by this times
            the squared length of every vector that it looks up.
        num_cross_layers: Number of cross layers.
        deep_units: Widths of the layers of the deep tower.
        dropout: Share of hidden units of the deep tower dropped while training.
        normalization: Normalization of hidden layers, before their activation: `batch`
            over the rows of a batch, `layer` over the units of a row; null for neither.
        activation: Activation of all layers except the last, which gives logits.
    """

    name: Literal["dcn"] = "dcn"
    embedding_dim: int = 16
    initial_bound: float | None = None
    embedding_l2: float = 0.0
    num_cross_layers: int = 6
    deep_units: tuple[int, ...] = (512, 256)
    dropout: float = 0.0
    normalization: Normalization | None = None
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        take_values(self)
        _check_embeddings(self.embedding_dim, self.initial_bound, self.embedding_l2)
        _check_cross_layers(self.num_cross_layers)
        _check_units("deep_units", self.deep_units, at_least=1)
        _check_dropout(self.dropout)
        _check_normalization(self.normalization, self.deep_units[:-1])


@dataclass(frozen=True)
class DCNV2Config:
    """Deep & Cross network, version 2: cross layers with a matrix each.

    Args:
        name: Name of the model.
        embedding_dim: Width of every embedding vector.
        initial_bound: The initial vectors are uniform in ± this; null means
            `1 / sqrt(vocabulary size)` of each column.
        embedding_l2: Embedding regularisation: the loss of a row grows by this times
            the squared length of every vector that it looks up.
        num_cross_layers: Number of cross layers.
        rank: Rank of the cross layers' matrices; null means full.
        deep_units: Widths of the layers of the deep tower.
        dropout: Share of hidden units of the deep tower dropped while training.
        normalization: Normalization of hidden layers, before their activation: `batch`
            over the rows of a batch, `layer` over the units of a row; null for neither.
        activation: Activation of all layers except the last, which gives logits.
    """

    name: Literal["dcn_v2"] = "dcn_v2"
    embedding_dim: int = 16
    initial_bound: float | None = None
    embedding_l2: float = 0.0
    num_cross_layers: int = 3
    rank: int | None = None
    deep_units: tuple[int, ...] = (512, 256)
    dropout: float = 0.0
    normalization: Normalization | None = None
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        take_values(self)
        _check_embeddings(self.embedding_dim, self.initial_bound, self.embedding_l2)
        _check_cross_layers(self.num_cross_layers)
        require(self.rank is None or self.rank >= 1, "rank", self.rank, "null or >= 1")
        _check_units("deep_units", self.deep_units, at_least=1)
        _check_dropout(self.dropout)
        _check_normalization(self.normalization, self.deep_units[:-1])


@dataclass(frozen=True)
class FMConfig:
    """Factorization machine of second order.

    Args:
        name: Name of the model.
        embedding_dim: Width of every factor vector.
        initial_bound: The initial vectors are uniform in ± this, near 0, since hundreds
            of products of larger ones would drown the rest.
        embedding_l2: Embedding regularisation: the loss of a row grows by this times
            the squared length of every vector that it looks up.
    """

    name: Literal["fm"] = "fm"
    embedding_dim: int = 16
    initial_bound: float = 0.01
    embedding_l2: float = 0.0

    def __post_init__(self) -> None:
        take_values(self)
        _check_embeddings(self.embedding_dim, self.initial_bound, self.embedding_l2)


@dataclass(frozen=True)
class DeepFMConfig:
    """DeepFM: a factorization machine and a deep tower on the same vectors.

    Args:
        name: Name of the model.
        embedding_dim: Width of every factor vector.
        initial_bound: The initial vectors are uniform in ± this, near 0, since hundreds
            of products of larger ones would drown the rest.
        embedding_l2: Embedding regularisation: the loss of a row grows by this times
            the squared length of every vector that it looks up.
        deep_units: Widths of the hidden layers of the deep tower; a last layer of
            width 1 follows them.
        dropout: Share of hidden units of the deep tower dropped while training.
        normalization: Normalization of hidden layers, before their activation: `batch`
            over the rows of a batch, `layer` over the units of a row; null for neither.
        activation: Activation of all layers except the last, which gives logits.
    """

    name: Literal["deepfm"] = "deepfm"
    embedding_dim: int = 16
    initial_bound: float = 0.01
    embedding_l2: float = 0.0
    deep_units: tuple[int, ...] = (400, 400, 400)
    dropout: float = 0.0
    normalization: Normalization | None = None
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        take_values(self)
        _check_embeddings(self.embedding_dim, self.initial_bound, self.embedding_l2)
        _check_units("deep_units", self.deep_units)
        _check_dropout(self.dropout)
        _check_normalization(self.normalization, self.deep_units)


@dataclass(frozen=True)
class MFConfig:
    """Matrix factorization of two categorical columns, with biases.

    Args:
        user: Column of the matrix' rows, such as people.
        item: Column of the matrix' columns, such as films. All other columns of the
            data set are ignored.
        name: Name of the model.
        embedding_dim: Width of every factor vector.
        initial_bound: The initial vectors are uniform in ± this; null means
            `1 / sqrt(vocabulary size)` of each column.
        embedding_l2: Embedding regularisation: the loss of a row grows by this times
            the squared length of every vector that it looks up.
    """

    user: str
    item: str
    name: Literal["mf"] = "mf"
    embedding_dim: int = 16
    initial_bound: float | None = None
    embedding_l2: float = 0.0

    def __post_init__(self) -> None:
        take_values(self)
        _check_embeddings(self.embedding_dim, self.initial_bound, self.embedding_l2)
        require(self.user != self.item, "item", self.item, "another column than user")


@dataclass(frozen=True)
class LogisticRegressionConfig:
    """Logistic regression: a weight for each id and each dense feature.

    Args:
        name: Name of the model.
    """

    name: Literal["logistic_regression"] = "logistic_regression"


@dataclass(frozen=True)
class MLPConfig:
    """Plain MLP on the dense features and the embeddings, side by side.

    Args:
        name: Name of the model.
        embedding_dim: Width of every embedding vector.
        initial_bound: The initial vectors are uniform in ± this; null means
            `1 / sqrt(vocabulary size)` of each column.
        embedding_l2: Embedding regularisation: the loss of a row grows by this times
            the squared length of every vector that it looks up.
        units: Widths of the hidden layers; a last layer of width 1 follows them.
        dropout: Share of hidden units dropped while training.
        normalization: Normalization of hidden layers, before their activation: `batch`
            over the rows of a batch, `layer` over the units of a row; null for neither.
        activation: Activation of all layers except the last, which gives logits.
    """

    name: Literal["mlp"] = "mlp"
    embedding_dim: int = 16
    initial_bound: float | None = None
    embedding_l2: float = 0.0
    units: tuple[int, ...] = (512, 256)
    dropout: float = 0.0
    normalization: Normalization | None = None
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        take_values(self)
        _check_embeddings(self.embedding_dim, self.initial_bound, self.embedding_l2)
        _check_units("units", self.units)
        _check_dropout(self.dropout)
        _check_normalization(self.normalization, self.units)


ModelConfig = (
    DLRMConfig
    | DCNConfig
    | DCNV2Config
    | FMConfig
    | DeepFMConfig
    | MFConfig
    | LogisticRegressionConfig
    | MLPConfig
)
"""Any of them; the field `name` tells which."""


def require_rows_to_normalize(model: ModelConfig, batch_size: int) -> None:
    """Refuse batches of one row where a model normalizes over the rows of a batch.

    Raises:
        InputError: If it would, since one row has no variance.
    """
    normalization = getattr(model, "normalization", None)
    expected = ">= 2 with model.normalization batch, since one row has no variance"
    is_possible = normalization != "batch" or batch_size > 1
    require(is_possible, "batch_size", batch_size, expected)


def _check_embeddings(dim: int, initial_bound: float | None, l2: float) -> None:
    require(dim >= 1, "embedding_dim", dim, ">= 1")
    is_possible = initial_bound is None or initial_bound > 0
    require(is_possible, "initial_bound", initial_bound, "null or > 0")
    require(l2 >= 0, "embedding_l2", l2, ">= 0")


def _check_units(name: str, units: tuple[int, ...], at_least: int = 0) -> None:
    require(all(width >= 1 for width in units), name, units, "widths >= 1")
    require(len(units) >= at_least, name, units, "one or more widths")


def _check_cross_layers(number: int) -> None:
    require(number >= 1, "num_cross_layers", number, ">= 1")


def _check_dropout(dropout: float) -> None:
    require(0 <= dropout < 1, "dropout", dropout, "in [0, 1)")


def _check_normalization(name: Normalization | None, widths: tuple[int, ...]) -> None:
    """Refuse a normalization of no layer, or of rows of a single unit.

    Args:
        name: The normalization.
        widths: Widths of the layers that it normalizes.
    """
    if name is None:
        return
    expected = "null where no hidden layer comes before a tower's last one"
    require(bool(widths), "normalization", name, expected)
    expected = "batch or null where a hidden layer has one unit"
    require(name == "batch" or 1 not in widths, "normalization", name, expected)
