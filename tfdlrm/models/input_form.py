"""The form in which a model takes its inputs, for signatures of exported models.

For models like these, Keras derives signatures from the shapes of the first inputs, and
gives every input, ids too, the type that a layer computes in.
"""

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfdlrm.layers._id_forms import are_columns


@dataclass(frozen=True)
class InputForm:
    """Types and shapes of a batch of any size.

    Args:
        dense: Specification of the dense features.
        ids: Specification of the ids, in any form that `EmbeddingCollection` takes.
    """

    dense: tf.TypeSpec
    ids: Any

    @classmethod
    def from_inputs(cls, inputs: dict[str, Any]) -> "InputForm":
        """Return the form of a batch."""
        dense, ids = inputs["dense_features"], inputs["categorical_features"]
        if are_columns(ids):
            return cls(_dense_spec(dense.shape), _specs_of_columns(ids))
        if isinstance(ids, list | tuple):
            num_features = len(ids[0])
            specs = [_ids_spec((None,), f"indices_{i}") for i in range(num_features)]
            starts = tf.TensorSpec((num_features, None), tf.int64, "offsets")
            return cls(_dense_spec(dense.shape), (specs, starts))
        if isinstance(ids, tf.RaggedTensor):
            shape = (None, ids.shape[1], None)
            spec = tf.RaggedTensorSpec(shape, tf.int64, 2, ids.row_splits.dtype)
            return cls(_dense_spec(dense.shape), spec)
        return cls.from_shapes(dense.shape, ids.shape)

    @classmethod
    def from_shapes(cls, dense: Any, ids: Any) -> "InputForm":
        """Return the form of ids `(batch, features)`, or of padded ids."""
        return cls(_dense_spec(dense), _ids_spec(ids))

    @property
    def signature(self) -> dict[str, Any]:
        """Return one specification for each input."""
        return {"categorical_features": self.ids, "dense_features": self.dense}

    @property
    def is_flat(self) -> bool:
        """Return whether every input is one tensor."""
        return isinstance(self.ids, tf.TensorSpec)


def _dense_spec(shape: Any) -> tf.TensorSpec:
    return tf.TensorSpec((None, shape[-1]), tf.float32, "dense_features")


def _ids_spec(shape: Any, name: str = "categorical_features") -> tf.TensorSpec:
    """Return integers `(batch, features)`, `(batch, features, width)` or `(n,)`."""
    sizes = [size if i == 1 else None for i, size in enumerate(shape)]
    return tf.TensorSpec(sizes, tf.int64, name)


def _specs_of_columns(columns: Any) -> Any:
    """Return the specification of each feature's ids, as a list or a dictionary."""
    is_dict = isinstance(columns, dict)
    pairs = columns.items() if is_dict else enumerate(columns)
    specs = {}
    for name, column in pairs:
        if isinstance(column, tf.RaggedTensor):
            splits = column.row_splits.dtype
            specs[name] = tf.RaggedTensorSpec((None, None), tf.int64, 1, splits)
        else:
            sizes = [None, *(1 if size == 1 else None for size in column.shape[1:])]
            title = name if is_dict else f"column_{name}"
            specs[name] = tf.TensorSpec(sizes, tf.int64, title)
    return specs if is_dict else [*specs.values()]


def export_function(model: keras.Model, signature: Any, filepath: str) -> None:
    """Write a SavedModel with a function `serve`, whose inputs may be ragged.

    Args:
        model: Model to export.
        signature: Input signature, as `tf.function` takes it.
        filepath: Path to write to.
    """
    module = tf.Module()
    module.model = model
    module.serve = tf.function(lambda inputs: model(inputs), input_signature=signature)
    tf.saved_model.save(module, filepath)


def function_of_names(model: keras.Model, input_form: InputForm) -> Any:
    """Return the model as a function with a named argument for each input."""

    def serving_default(
        categorical_features: tf.Tensor, dense_features: tf.Tensor
    ) -> tf.Tensor:
        return model(
            {
                "categorical_features": categorical_features,
                "dense_features": dense_features,
            }
        )

    return tf.function(serving_default, [input_form.ids, input_form.dense])
