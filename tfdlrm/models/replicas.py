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
        loss = _mean_loss(model, features, labels, logits, weights)
        # The gradients of all replicas are added up.
        share = model.optimizer.scale_loss(loss * num_rows / all_rows)
    variables = model.trainable_variables
    model.optimizer.apply(tape.gradient(share, variables), variables)

    all_logits = replicas.all_gather(logits, axis=0)
    for metric in model.metrics:
        if metric.name == "loss":
            loss = _mean_loss(model, None, all_labels, all_logits, all_weights)
            metric.update_state(loss, sample_weight=all_rows)
        else:
            metric.update_state(all_labels, all_logits, sample_weight=all_weights)
    return model.get_metrics_result()


def _mean_loss(
    model: keras.Model, features: Any, labels: Any, logits: Any, weights: Any
) -> Any:
    loss = model.compute_loss(features, labels, logits, weights)
    # Keras has divided it by the number of replicas already.
    return loss * tf.distribute.get_strategy().num_replicas_in_sync


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
