"""A training step on several devices at once, with the numbers of a single one."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def train_step(model: keras.Model, data: Any) -> dict[str, Any]:
    """Train on one replica's rows of a batch, together with the other replicas.

    Keras gives every replica the same weight, however many rows of the batch it has;
    and its metrics are those of one replica. Here a replica counts by its rows, which
    may be none, and the metrics are those of the whole batch.

    Args:
        model: A compiled model.
        data: This replica's features, labels and, it may be, weights of rows.

    Returns:
        The metrics, the same on every replica.
    """
    replicas = tf.distribute.get_replica_context()
    features, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
    all_labels = replicas.all_gather(tf.identity(labels), axis=0)
    all_weights = (
        None if weights is None else replicas.all_gather(tf.identity(weights), axis=0)
    )
    num_rows, all_rows = (
        tf.cast(tf.shape(each)[0], tf.float32) for each in (labels, all_labels)
    )
    with tf.GradientTape() as tape:
        logits = model(features, training=True)
        loss = model.compute_loss(features, labels, logits, weights)
        # Keras has divided this mean by the number of replicas, whose gradients are
        # added up. Of no rows a regularizer has no mean.
        weight = num_rows * replicas.num_replicas_in_sync / all_rows
        share = tf.math.multiply_no_nan(loss, weight)
        scaled = model.optimizer.scale_loss(share)
    variables = model.trainable_variables
    model.optimizer.apply(tape.gradient(scaled, variables), variables)

    all_logits = replicas.all_gather(logits, axis=0)
    for metric in model.metrics:
        if metric.name == "loss":
            mean = replicas.all_reduce(tf.distribute.ReduceOp.SUM, share)
            metric.update_state(mean, sample_weight=all_rows)
        else:
            metric.update_state(all_labels, all_logits, sample_weight=all_weights)
    return model.get_metrics_result()


def function_of_iterator(
    model: keras.Model, step: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    """What Keras calls once an execution, for a step whose results all replicas share.

    Keras' own takes the mean over replicas, which fails for the scalars of a
    `MultiWorkerMirroredStrategy`.

    Args:
        model: The compiled model, which says how many steps an execution has.
        step: From one replica's data to results that are the same on every replica.

    Returns:
        From an iterator to the results of the last step.
    """
    strategy = model.distribute_strategy

    @tf.autograph.experimental.do_not_convert
    def one_step(data: Any) -> Any:
        results = strategy.run(step, args=(data,))
        return tf.nest.map_structure(
            lambda each: strategy.experimental_local_results(each)[0], results
        )

    @tf.function(reduce_retracing=True)
    def execution(iterator: Any) -> Any:
        results = one_step(iterator.get_next())
        for _ in tf.range(model.steps_per_execution - 1):
            more = iterator.get_next_as_optional()
            if more.has_value():
                results = one_step(more.get_value())
        return results

    return execution
