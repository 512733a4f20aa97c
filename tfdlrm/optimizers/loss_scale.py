"""Loss scaling for float16 that reads only the rows of a batch."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfdlrm")
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Keras' dynamic loss scaling, for optimizers of sparse gradients.

    Small gradients become 0 in float16, so the loss is multiplied by a scale, and the
    gradients are divided by it. A step whose gradients are not finite is skipped and
    halves the scale; `dynamic_growth_steps` finite steps in a row double it. To check a
    sparse gradient, Keras' own optimizer makes a dense tensor of the whole table; this
    one reads only the rows in the gradient.

    Args:
        inner_optimizer: One of `tfdlrm.optimizers`.
        initial_scale: Scale of the first step.
        dynamic_growth_steps: Finite steps in a row that double the scale.

    Example:

    >>> from tfdlrm.optimizers import SGD
    >>> table = keras.Variable([[1.0], [1.0], [1.0]])
    >>> optimizer = LossScaleOptimizer(SGD(learning_rate=0.5), initial_scale=4.0)
    >>> gradient = tf.IndexedSlices(tf.constant([[8.0], [4.0]]), [1, 1])
    >>> optimizer.apply([gradient], [table])
    >>> table.numpy().tolist()  # by 0.5 * (8 + 4) / 4
    [[1.0], [-0.5], [1.0]]

    Reference:
        [Micikevicius et al., 2017](https://arxiv.org/abs/1710.03740), section 3.2.
    """

    def check_finite(self, grads: Any) -> Any:
        values = [
            gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
            for gradient in grads
        ]
        is_finite = super().check_finite(values)
        replicas = tf.distribute.get_replica_context()
        if replicas is None or replicas.num_replicas_in_sync == 1:
            return is_finite
        # Keras decides by the first replica, or separately on each: one would then
        # apply a step that another skips, or wait for it forever.
        is_bad = tf.cast(tf.logical_not(is_finite), tf.float32)
        return tf.equal(replicas.all_reduce(tf.distribute.ReduceOp.SUM, is_bad), 0.0)
