"""Converts `Ranking` models of TensorFlow Recommenders, and offers it our interaction.

One process can use both Keras 2 and 3, if TF_USE_LEGACY_KERAS=1 is set before
TensorFlow is imported: then `tf.keras` is Keras 2, and `keras` stays Keras 3.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfdlrm.base.errors import InputError
from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.models import DLRM

if os.environ.get("TF_USE_LEGACY_KERAS") not in ("1", "true", "True"):
    raise InputError(
        "TF_USE_LEGACY_KERAS is not 1: set it before TensorFlow is imported, such as "
        "by TF_USE_LEGACY_KERAS=1 python …; TensorFlow Recommenders needs Keras 2"
    )

import tensorflow_recommenders as tfrs
import tf_keras


@tf_keras.saving.register_keras_serializable("tfdlrm")
class LegacyDotInteraction(tf_keras.layers.Layer):
    """`tfdlrm.layers.DotInteraction` as a layer of Keras 2.

    It replaces `tfrs.layers.feature_interaction.DotInteraction`, and returns the same
    products in the same order.

    Args:
        self_interaction: Whether each vector's product with itself is included.

    Call arguments:
        inputs: A list of `n` tensors of shape `(batch, dim)`.
        training: Whether this is a training step.

    Returns:
        Tensor of shape `(batch, pairs)`.

    Example:

    >>> vectors = [np.array([[1.0, 0.0]]), np.array([[2.0, 3.0]])]
    >>> LegacyDotInteraction()(vectors).numpy().tolist()
    [[2.0]]
    """

    def __init__(self, self_interaction: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.self_interaction = self_interaction

    def build(self, input_shape: Any) -> None:
        self._interaction = DotInteraction(self.self_interaction)
        self._interaction.build((None, len(input_shape), None))
        super().build(input_shape)

    def call(self, inputs: Sequence[Any], training: bool | None = None) -> Any:
        import tensorflow as tf

        # `Ranking` squeezes its vectors, which loses their static shapes.
        dim = tf.shape(inputs[0])[-1]
        stacked = tf.reshape(tf.stack(inputs, axis=1), (-1, len(inputs), dim))
        return self._interaction.call(stacked, training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "self_interaction": self.self_interaction}


def to_keras(
    ranking: tfrs.experimental.models.Ranking, feature_names: Sequence[str]
) -> DLRM:
    """Return the DLRM, on Keras 3, with the weights of a `Ranking` model.

    If the model ends in a sigmoid, its predictions are the sigmoid of the DLRM's
    logits; if it ends linearly, they are the logits.

    Args:
        ranking: A model with a `PartialTPUEmbedding`, MLPs of Dense layers and a dot
            interaction, either TFRS' or `LegacyDotInteraction`. It must be built: call
            it once, or load its weights.
        feature_names: Its `sparse_features`, in the order of the DLRM's columns of
            `categorical_features`.

    Raises:
        InputError: If the model has other layers or other features.
    """
    tables = _tables(ranking, feature_names)
    bottom = _dense_layers(ranking._bottom_stack, "bottom_stack")
    top = _dense_layers(ranking._top_stack, "top_stack")
    _check_activations(bottom, top)
    interaction = ranking._feature_interaction
    classes = (tfrs.layers.feature_interaction.DotInteraction, LegacyDotInteraction)
    if not isinstance(interaction, classes):
        raise InputError(
            f"the model's feature_interaction is {type(interaction).__name__}, "
            "expected DotInteraction: other interactions are not converted"
        )
    model = DLRM(
        EmbeddingCollection(
            [len(table) for table in tables],
            tables[0].shape[1],
            combiner=_combiner(ranking._embedding_layer),
        ),
        _mlp(bottom, _activation(bottom[-1])),
        DotInteraction(_with_self(interaction)),
        _mlp(top, None),
        name="dlrm",
    )
    model.build(
        {
            "dense_features": (None, bottom[0].kernel.shape[0]),
            "categorical_features": (None, len(tables)),
        }
    )
    model.embeddings.tables[0].assign(np.concatenate(tables))
    _assign(model.bottom_mlp, bottom, bottom[0].kernel.numpy())
    first_kernel = _first_kernel(
        ranking, feature_names, top[0].kernel.numpy(), tables[0].shape[1]
    )
    _assign(model.top_mlp, top, first_kernel)
    return model


def _tables(ranking: Any, feature_names: Sequence[str]) -> list[np.ndarray]:
    """Return the table of each feature, in order; features may share a table."""
    layer = ranking._embedding_layer
    if not isinstance(layer, tfrs.experimental.layers.embedding.PartialTPUEmbedding):
        raise InputError(
            f"the model's embedding_layer is {type(layer).__name__}, expected "
            "PartialTPUEmbedding"
        )
    if not ranking.built:
        raise InputError("the model has no weights yet: call it once on a batch")
    tables = {
        name: embedding.embeddings
        for name, embedding in layer.keras_embedding_layers.items()
    }
    if layer.tpu_embedding is not None:
        tpu_tables = {
            config.name: table
            for config, table in layer.tpu_embedding.embedding_tables.items()
        }
        tables |= {
            name: tpu_tables[feature.table.name]
            for name, feature in layer.tpu_embedding._feature_config.items()
        }
    if sorted(feature_names) != sorted(tables):
        raise InputError(
            f"feature_names is {list(feature_names)}, expected the features of the "
            f"model in your order: {', '.join(sorted(tables))}"
        )
    return [tables[name].numpy() for name in feature_names]


def _combiner(layer: Any) -> Any:
    """Return the combiner of bags, which only tables for a TPU accept."""
    configs = layer.tpu_embedding.embedding_tables if layer.tpu_embedding else ()
    combiners = {config.combiner for config in configs} or {"sum"}
    if len(combiners) > 1:
        raise InputError(
            f"the model's tables have the combiners {', '.join(sorted(combiners))}, "
            "expected one for all"
        )
    return combiners.pop()


def _dense_layers(stack: Any, name: str) -> list[Any]:
    layers = getattr(stack, "_sublayers", None) or getattr(stack, "layers", [])
    if not layers or not all(isinstance(x, tf_keras.layers.Dense) for x in layers):
        raise InputError(
            f"the model's {name} is {type(stack).__name__}, expected an MLP or a "
            "Sequential of Dense layers"
        )
    return list(layers)


def _check_activations(bottom: Sequence[Any], top: Sequence[Any]) -> None:
    for name, layers in (("bottom_stack", bottom[:-1]), ("top_stack", top[:-1])):
        names = {_activation(layer) for layer in layers}
        if len(names) > 1:
            raise InputError(f"the model's {name} has several activations: {names}")
    if _activation(top[-1]) not in (None, "sigmoid"):
        raise InputError(
            f"the model's top_stack ends in {_activation(top[-1])}, expected sigmoid "
            "or no activation"
        )


def _activation(layer: Any) -> str | None:
    name = tf_keras.activations.serialize(layer.activation)
    return None if name == "linear" else name


def _mlp(layers: Sequence[Any], final_activation: str | None) -> MLP:
    hidden = _activation(layers[0]) if len(layers) > 1 else None
    units = [layer.units for layer in layers]
    return MLP(units, activation=hidden, final_activation=final_activation)


def _assign(mlp: MLP, layers: Sequence[Any], first_kernel: np.ndarray) -> None:
    kernels = [first_kernel, *(layer.kernel for layer in layers[1:])]
    for dense, source, kernel in zip(mlp.dense_layers, layers, kernels, strict=True):
        dense.kernel.assign(kernel)
        dense.bias.assign(source.bias if source.use_bias else np.zeros(dense.units))


def _first_kernel(
    ranking: Any, feature_names: Sequence[str], kernel: np.ndarray, dim: int
) -> np.ndarray:
    """Return the top MLP's first kernel with its rows in the order of this project.

    TFRS sorts the features by name and puts the bottom vector behind them. In this
    project the bottom vector is first, and the features follow in their own order.
    """
    interaction = ranking._feature_interaction
    # If the bottom vector is not an input of the top MLP, its weights are zeros.
    bottom = kernel[:dim] if ranking._concat_dense else np.zeros_like(kernel[:dim])
    pairs = kernel[dim:] if ranking._concat_dense else kernel
    names = sorted(feature_names)
    positions = np.array([len(names), *(names.index(name) for name in feature_names)])
    lower = np.tril_indices(len(positions), 0 if _with_self(interaction) else -1)
    rows_of_pairs = np.zeros((len(positions), len(positions)), np.int64)
    if getattr(interaction, "_skip_gather", False):
        # TFRS keeps the whole matrix, with zeros above the diagonal.
        rows_of_pairs = np.arange(rows_of_pairs.size).reshape(rows_of_pairs.shape)
    else:
        rows_of_pairs[lower] = np.arange(len(lower[0]))
    tfrs_pairs = np.sort(positions[np.array(lower)], axis=0)  # (2, pairs), ascending
    return np.concatenate([bottom, pairs[rows_of_pairs[tfrs_pairs[1], tfrs_pairs[0]]]])


def _with_self(interaction: Any) -> bool:
    if isinstance(interaction, LegacyDotInteraction):
        return interaction.self_interaction
    return interaction._self_interaction
