"""The form in which a model takes its inputs, for signatures of exported models.

Keras tells signatures of models like these by the shapes of their first inputs, and
gives all the type that a layer computes in, ids too.
"""

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf


@dataclass(frozen=True)
class InputForm:
    """Types and shapes of a batch of any size.

    Args:
        dense: Of the dense features.
        ids: Of the ids, in whatever form they come.
    """

    dense: tf.TypeSpec
    ids: Any

    @classmethod
    def of_inputs(cls, inputs: dict[str, Any]) -> "InputForm":
        """That of a batch."""
        dense, ids = inputs["dense_features"], inputs["categorical_features"]
        if isinstance(ids, list | tuple):
            num_features = len(ids[0])
            specs = [_ids_spec((None,), f"indices_{i}") for i in range(num_features)]
            starts = tf.TensorSpec((num_features, None), tf.int64, "offsets")
            return cls(_dense_spec(dense.shape), (specs, starts))
        if isinstance(ids, tf.RaggedTensor):
            shape = (None, ids.shape[1], None)
            spec = tf.RaggedTensorSpec(shape, tf.int64, 2, ids.row_splits.dtype)
            return cls(_dense_spec(dense.shape), spec)
        return cls.of_shapes(dense.shape, ids.shape)

    @classmethod
    def of_shapes(cls, dense: Any, ids: Any) -> "InputForm":
        """That of one id a feature `(batch, features)`, or of padded ones."""
        return cls(_dense_spec(dense), _ids_spec(ids))

    @property
    def signature(self) -> dict[str, Any]:
        """One specification for each input."""
        return {"categorical_features": self.ids, "dense_features": self.dense}

    @property
    def is_flat(self) -> bool:
        """Whether every input is one tensor."""
        return isinstance(self.ids, tf.TensorSpec)


def _dense_spec(shape: Any) -> tf.TensorSpec:
    return tf.TensorSpec((None, shape[-1]), tf.float32, "dense_features")


def _ids_spec(shape: Any, name: str = "categorical_features") -> tf.TensorSpec:
    """Integers `(batch, features)`, `(batch, features, width)` or `(n,)`."""
    sizes = [size if i == 1 else None for i, size in enumerate(shape)]
    return tf.TensorSpec(sizes, tf.int64, name)


def export_function(model: keras.Model, signature: Any, filepath: str) -> None:
    """Write a SavedModel with a function `serve`, whose inputs may be ragged.

    Args:
        model: The model.
        signature: Of its inputs, as `tf.function` takes it.
        filepath: Where to write.
    """
    module = tf.Module()
    module.model = model
    module.serve = tf.function(lambda inputs: model(inputs), input_signature=signature)
    tf.saved_model.save(module, filepath)


def named_function(model: keras.Model, form: InputForm) -> Any:
    """The model as a function of its inputs, each by its name."""

    def serving_default(
        categorical_features: tf.Tensor, dense_features: tf.Tensor
    ) -> tf.Tensor:
        return model(
            {
                "categorical_features": categorical_features,
                "dense_features": dense_features,
            }
        )

    return tf.function(serving_default, [form.ids, form.dense])
