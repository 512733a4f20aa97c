"""The fully connected tower of a DLRM."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfdlrm.layers.batch_normalization import BatchNormalization

EPSILON = 1e-5
"""Added to variances: of little weight beside those of small initial embeddings."""

_NORMALIZATIONS: dict[str, Any] = {
    "batch": BatchNormalization,
    "layer": keras.layers.LayerNormalization,
}


@keras.saving.register_keras_serializable("tfdlrm")
class MLP(keras.layers.Layer):
    """A stack of dense layers with the reference implementation's initial values.

    Kernels start as N(0, sqrt(2 / (inputs + units))) and biases as
    N(0, sqrt(1 / units)). Layers before a batch normalization have no bias.

    Args:
        units: Width of each layer, in order.
        activation: Activation after every layer except the last.
        final_activation: Activation after the last layer; `None` leaves it linear, for
            logits.
        dropout: Share of the outputs of each hidden layer that training drops.
        normalization: Normalization of each layer except the last, before its
            activation: `batch` over the rows of a batch, a `BatchNormalization`;
            `layer` over the units of a row; `None` for neither.

    Call arguments:
        inputs: Float tensor of shape `(batch, inputs)`.
        training: Whether dropout is on, and batch normalization uses the batch. On
            TensorFlow, gradients are then computed in a faster way than TensorFlow's
            own.

    Returns:
        Tensor of shape `(batch, units[-1])`.

    Raises:
        ValueError: If `units` is empty or holds a width below 1, the normalization is
            unknown, or the inputs have another width than the one that the layer was
            built for.

    Example:

    >>> import numpy as np
    >>> tower = MLP([512, 256, 16], final_activation="relu")
    >>> tower(np.ones((4, 13), "float32")).shape.as_list()
    [4, 16]

    Reference:
        [Naumov et al., 2019](https://arxiv.org/abs/1906.00091), section 2.
    """

    def __init__(
        self,
        units: Sequence[int],
        activation: str | None = "relu",
        final_activation: str | None = None,
        dropout: float = 0.0,
        normalization: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not units or min(units) < 1:
            raise ValueError(f"units is {units!r}: expected one or more widths >= 1.")
        if normalization not in (None, *_NORMALIZATIONS):
            raise ValueError(
                f"normalization is {normalization!r}: expected 'batch', 'layer' or "
                "None."
            )
        self.units = list(units)
        self.activation = activation
        self.final_activation = final_activation
        self.dropout = dropout
        self.normalization = normalization
        last_index = len(self.units) - 1
        # Normalization comes between a layer and its activation.
        hidden_activation = None if normalization else activation
        self.dense_layers = [
            keras.layers.Dense(
                width,
                activation=final_activation
                if index == last_index
                else hidden_activation,
                # Batch normalization would take it away again, and its gradient would
                # be rounding errors, which Adagrad and Adam scale up to whole steps.
                use_bias=normalization != "batch" or index == last_index,
                kernel_initializer=keras.initializers.VarianceScaling(
                    scale=1.0, mode="fan_avg", distribution="untruncated_normal"
                ),
                bias_initializer=keras.initializers.RandomNormal(
                    stddev=math.sqrt(1 / width)
                ),
                dtype=self.dtype_policy,
                name=f"dense_{index}",
            )
            for index, width in enumerate(self.units)
        ]
        self.normalization_layers = (
            [
                _NORMALIZATIONS[normalization](
                    epsilon=EPSILON,
                    dtype=self.dtype_policy,
                    name=f"normalization_{index}",
                )
                for index in range(last_index)
            ]
            if normalization
            else []
        )
        self.dropout_layer = (
            keras.layers.Dropout(dropout, dtype=self.dtype_policy) if dropout else None
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        axes = {-1: input_shape[-1]}
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes=axes)
        for layer in self.dense_layers:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)
        for layer, width in zip(self.normalization_layers, self.units, strict=False):
            layer.build((*input_shape[:-1], width))  # the last width has none

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        outputs = inputs
        for index, layer in enumerate(self.dense_layers[:-1]):
            outputs = self._dense(layer, outputs, training)  # (batch, width)
            if self.normalization:
                outputs = self._normalize(index, outputs, training)
            if self.dropout_layer is not None:
                outputs = self.dropout_layer(outputs, training=training)
        return self._dense(self.dense_layers[-1], outputs, training)

    def _normalize(self, index: int, outputs: Any, training: Any) -> Any:
        layer = self.normalization_layers[index]
        is_of_batch = isinstance(layer, BatchNormalization)
        arguments = {"training": training} if is_of_batch else {}
        return keras.activations.get(self.activation)(layer(outputs, **arguments))

    def _dense(self, layer: keras.layers.Dense, inputs: Any, training: Any) -> Any:
        is_plain = layer.quantization_mode is None
        if not (training and is_plain and keras.backend.backend() == "tensorflow"):
            return layer(inputs)
        from tfdlrm.layers._dense_products import dense_products

        shape = ops.shape(inputs)
        if len(shape) > 2:
            inputs = ops.reshape(inputs, (-1, shape[-1]))
        has_relu = layer.activation is keras.activations.relu
        outputs = dense_products(
            ops.cast(inputs, self.compute_dtype),
            ops.cast(layer.kernel, self.compute_dtype),
            self._bias(layer),
            has_relu=has_relu,
        )
        if len(shape) > 2:
            outputs = ops.reshape(outputs, (*shape[:-1], layer.units))
        return outputs if has_relu else layer.activation(outputs)

    def _bias(self, layer: keras.layers.Dense) -> Any:
        if layer.bias is None:
            return ops.zeros((layer.units,), self.compute_dtype)
        return ops.cast(layer.bias, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple:
        return (*input_shape[:-1], self.units[-1])

    def get_config(self) -> dict[str, Any]:
        config = {
            **super().get_config(),
            "units": [*self.units],
            "activation": self.activation,
            "final_activation": self.final_activation,
            "dropout": self.dropout,
            "normalization": self.normalization,
        }
        policies = {
            str(index): layer.dtype_policy.name
            for index, layer in enumerate(self.dense_layers)
            if layer.quantization_mode is not None
        }
        return {**config, "quantized_layers": policies} if policies else config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MLP":
        config = dict(config)
        policies = config.pop("quantized_layers", {})
        mlp = cls(**config)
        for index, policy in policies.items():
            mlp.dense_layers[int(index)].dtype_policy = policy
        return mlp
