"""One optimizer for embedding tables and another one for everything else."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfdlrm.optimizers._sparse import SparseOptimizer
from tfdlrm.optimizers._tables import is_table


@keras.saving.register_keras_serializable("tfdlrm")
class CompositeOptimizer(keras.optimizers.Optimizer):
    """Step embedding tables by one optimizer, and dense layers by another one.

    The kind of a variable decides, not that of its gradient: a table is what ids look
    up, as in `EmbeddingCollection` and `keras.layers.Embedding`. So vectors of buckets
    and the linear terms of ids are tables, too; all other variables are dense layers,
    whose gradients become dense tensors.

    Each part has a learning rate of its own. `learning_rate` is that of the tables, and
    setting it scales both by the same factor.

    Args:
        tables: Optimizer of the tables, one of `tfdlrm.optimizers`.
        dense: Optimizer of all other variables, such as `keras.optimizers.Adam`. Its
            `global_clipnorm` is that of their gradients together, those of the whole
            batch under a strategy too.
        name: Name of the optimizer.

    Raises:
        ValueError: If `tables` is none of `tfdlrm.optimizers`, or the parts scale the
            loss or accumulate gradients each in its own way.

    Example:

    >>> from tfdlrm.optimizers import SGD
    >>> table = keras.Variable([[1.0], [1.0]])
    >>> table.is_embedding_table = True
    >>> bias = keras.Variable([1.0])
    >>> dense = keras.optimizers.SGD(learning_rate=0.25)
    >>> optimizer = CompositeOptimizer(tables=SGD(learning_rate=0.5), dense=dense)
    >>> gradient = tf.IndexedSlices(tf.constant([[1.0]]), [1], [2, 1])
    >>> optimizer.apply([gradient, tf.constant([1.0])], [table, bias])
    >>> table.numpy().tolist(), bias.numpy().tolist()
    ([[1.0], [0.5]], [0.75])

    Reference:
        [Cheng et al., 2016](https://arxiv.org/abs/1606.07792), section 3.3, which
        trains its wide and its deep part by optimizers of their own.
    """

    def __init__(
        self,
        tables: SparseOptimizer,
        dense: keras.optimizers.Optimizer,
        name: str = "composite",
    ) -> None:
        # A function, so that Keras makes no variable.
        super().__init__(learning_rate=lambda: tables.learning_rate, name=name)
        self.built: bool
        # A function, since TensorFlow would save the contents of a list.
        self._get_trainable: Callable[[], tuple[Any, ...]] = tuple
        _check_parts(tables, dense)
        self.tables = tables
        self.dense = dense
        if _clips(dense) and self._distribution_strategy.num_replicas_in_sync > 1:
            _clip_sums(dense)

    @property
    def parts(self) -> list[keras.optimizers.Optimizer]:
        """The optimizers of the tables and of all other variables."""
        return [self.tables, self.dense]

    @property
    def variables(self) -> list[keras.Variable]:
        """The variables of both parts."""
        return [*self.tables.variables, *self.dense.variables]

    @property
    def iterations(self) -> Any:
        """Steps done."""
        return self.tables.iterations

    @property
    def learning_rate(self) -> Any:
        """Learning rate of the tables; setting it scales that of the dense layers."""
        return self.tables.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: Any) -> None:
        factor = float(rate) / float(tf.convert_to_tensor(self.tables.learning_rate))
        dense_rate = float(tf.convert_to_tensor(self.dense.learning_rate))
        self.tables.learning_rate = rate
        self.dense.learning_rate = dense_rate * factor

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        # Keras' optimizers have copies on devices only if they are built there.
        with self.tables._scope():
            for part, its_variables in zip(
                self.parts, _split(variables, variables), strict=True
            ):
                part.build(its_variables)
        known = tuple(variables)
        self._get_trainable = lambda: known
        self.built = True

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        if trainable_variables is None:
            trainable_variables = self._get_trainable()
        trainable_variables = list(trainable_variables)
        if not self.built:
            self.build(trainable_variables)
        pairs = list(zip(grads, trainable_variables, strict=True))
        if all(gradient is None for gradient, _ in pairs):
            raise ValueError("No gradients provided for any variable.")
        table_pairs, dense_pairs = _split(trainable_variables, pairs)
        dense_pairs = [(_as_tensor(gradient), v) for gradient, v in dense_pairs]
        for part, part_pairs in zip(
            self.parts, (table_pairs, dense_pairs), strict=True
        ):
            if any(gradient is not None for gradient, _ in part_pairs):
                part.apply(*map(list, zip(*part_pairs, strict=True)))
            else:
                part._iterations.assign_add(1)

    def stateless_apply(
        self, optimizer_variables: Any, grads: Any, trainable_variables: Any
    ) -> Any:
        raise ValueError("CompositeOptimizer needs the TensorFlow backend's `apply`.")

    def finalize_variable_values(self, var_list: Any) -> None:
        _, dense = _split(var_list, var_list)
        self.dense.finalize_variable_values(dense)

    # Keras saves both parts by themselves.
    def save_own_variables(self, store: Any) -> None: ...

    def load_own_variables(self, store: Any) -> None: ...

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "tables": serialize(self.tables),
            "dense": serialize(self.dense),
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "CompositeOptimizer":
        parts = {
            part: keras.saving.deserialize_keras_object(config[part], custom_objects)
            for part in ("tables", "dense")
        }
        return cls(**parts, name=config["name"])


def _check_parts(tables: Any, dense: Any) -> None:
    if not isinstance(tables, SparseOptimizer):
        raise ValueError(
            f"Got tables={type(tables).__name__}: expected an optimizer of "
            "tfdlrm.optimizers, which sums repeated rows."
        )
    if not isinstance(dense, keras.optimizers.Optimizer) or hasattr(
        dense, "inner_optimizer"
    ):
        raise ValueError(
            f"Got dense={type(dense).__name__}: expected an optimizer such as "
            "keras.optimizers.Adam; a LossScaleOptimizer goes around the composite."
        )
    if tables.loss_scale_factor or dense.loss_scale_factor:
        raise ValueError(
            "Got loss_scale_factor: expected none in parts of a CompositeOptimizer; "
            "put a LossScaleOptimizer around it."
        )
    steps = [part.gradient_accumulation_steps for part in (tables, dense)]
    if steps[0] != steps[1]:
        raise ValueError(
            f"Got gradient_accumulation_steps={steps[0]} for tables and {steps[1]} for "
            "dense: expected the same for both parts."
        )


def _split(variables: Sequence[Any], values: Sequence[Any]) -> tuple[list, list]:
    """Return the values of tables, and those of all other variables."""
    tables: list[Any] = []
    dense: list[Any] = []
    for variable, value in zip(variables, values, strict=True):
        (tables if is_table(variable) else dense).append(value)
    return tables, dense


def _as_tensor(gradient: Any) -> Any:
    is_sparse = isinstance(gradient, tf.IndexedSlices)
    return tf.convert_to_tensor(gradient) if is_sparse else gradient


def _clips(optimizer: keras.optimizers.Optimizer) -> bool:
    return bool(optimizer.clipnorm or optimizer.global_clipnorm or optimizer.clipvalue)


def _clip_sums(optimizer: keras.optimizers.Optimizer) -> None:
    """Let an optimizer clip the gradients of the whole batch.

    Keras clips those of each device, before they are summed.
    """
    clip: Callable[[Any], Any] = optimizer._clip_gradients
    add_up: Callable[[Any], Any] = optimizer._all_reduce_sum_gradients

    def add_up_and_clip(pairs: Any) -> Any:
        gradients, variables = zip(*add_up(pairs), strict=True)
        return list(zip(clip(list(gradients)), variables, strict=True))

    optimizer._clip_gradients = lambda gradients: gradients
    optimizer._all_reduce_sum_gradients = add_up_and_clip
