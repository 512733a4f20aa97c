"""A training step on several devices at once, with the numbers of a single one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf


def train_step(model: keras.Model, data: Any) -> dict[str, Any]:
    """Train on one replica's rows of a batch, together with the other replicas.

    Keras gives every replica the same weight, however many rows of the batch it has,
    and returns the metrics of one replica. Here a replica counts by its rows, of which
    there may be none, and the metrics are those of the whole batch.

    Args:
        model: A compiled model.
        data: This replica's features, labels and, optionally, weights of rows.

    Returns:
        The metrics, the same on every replica.
    """
    batch = _Batch.of(data)
    with tf.GradientTape() as tape:
        logits = model(batch.features, training=True)
        share = batch.share_of_loss(model, logits, training=True)
        scaled = model.optimizer.scale_loss(share)
    variables = model.trainable_variables
    model.optimizer.apply(tape.gradient(scaled, variables), variables)
    _update_metrics(model, batch, logits, share)
    return model.get_metrics_result()


def test_step(model: keras.Model, data: Any) -> dict[str, Any]:
    """Score one replica's rows of a batch, together with the other replicas.

    Args:
        model: A compiled model.
        data: This replica's features, labels and, optionally, weights of rows.

    Returns:
        The metrics of the whole batch, the same on every replica.
    """
    batch = _Batch.of(data)
    logits = model(batch.features, training=False)
    share = batch.share_of_loss(model, logits, training=False)
    _update_metrics(model, batch, logits, share)
    return model.get_metrics_result()


def has_one_copy(strategy: tf.distribute.Strategy) -> bool:
    """Return whether all replicas of a strategy share its variables.

    Keras' metrics assign their old value plus an update. Such a strategy sums the
    assignments of all replicas, and with them the old value of each.
    """
    return isinstance(strategy, tf.distribute.experimental.CentralStorageStrategy)


@dataclass(frozen=True)
class _Batch:
    """One replica's rows of a batch, with labels and weights of the whole batch."""

    features: Any
    labels: tf.Tensor
    weights: tf.Tensor | None
    all_labels: tf.Tensor
    all_weights: tf.Tensor | None

    @classmethod
    def of(cls, data: Any) -> "_Batch":
        features, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        all_labels, all_weights = (
            None if values is None else _gather(values) for values in (labels, weights)
        )
        return cls(features, labels, weights, all_labels, all_weights)

    @property
    def all_rows(self) -> tf.Tensor:
        return tf.cast(tf.shape(self.all_labels)[0], tf.float32)

    def share_of_loss(self, model: keras.Model, logits: Any, training: bool) -> Any:
        """Return the share of these rows in the loss of the batch."""
        loss = model.compute_loss(
            self.features, self.labels, logits, self.weights, training=training
        )
        # Keras divides this mean by the number of replicas, whose gradients it adds up.
        # The mean of a regularizer over no rows is NaN, hence `multiply_no_nan`.
        num_rows = tf.cast(tf.shape(self.labels)[0], tf.float32)
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        return tf.math.multiply_no_nan(loss, num_rows * replicas / self.all_rows)


def _gather(values: tf.Tensor) -> tf.Tensor:
    return tf.distribute.get_replica_context().all_gather(tf.identity(values), axis=0)


def _update_metrics(model: keras.Model, batch: _Batch, logits: Any, share: Any) -> None:
    replicas = tf.distribute.get_replica_context()
    mean = replicas.all_reduce(tf.distribute.ReduceOp.SUM, share)
    values = mean, batch.all_rows, batch.all_labels, _gather(logits)

    def update(mean: Any, rows: Any, labels: Any, logits: Any, weights: Any) -> None:
        for metric in model.metrics:
            if metric.name == "loss":
                metric.update_state(mean, sample_weight=rows)
            else:
                metric.update_state(labels, logits, sample_weight=weights)

    def update_once(strategy: tf.distribute.Strategy, *values: Any) -> None:
        local = [strategy.experimental_local_results(value)[0] for value in values]
        update(*local[:4], *(local[4:] or [None]))

    if not has_one_copy(replicas.strategy):
        update(*values, batch.all_weights)
        return
    weights = () if batch.all_weights is None else (batch.all_weights,)
    replicas.merge_call(update_once, args=(*values, *weights))


def function_of_iterator(
    model: keras.Model, step: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    """Return the function that Keras calls once for each execution of several steps.

    Keras' own takes the mean over replicas, which fails for the scalars of a
    `MultiWorkerMirroredStrategy`.

    Args:
        model: Compiled model, with the number of steps of an execution.
        step: Function from one replica's data to results that are the same on every
            replica.

    Returns:
        Function from an iterator to the results of the last step. A batch of
        `train_on_batch` is cut like those of a data set.
    """
    strategy = model.distribute_strategy

    @tf.autograph.experimental.do_not_convert
    def one_step(data: Any) -> Any:
        results = strategy.run(step, args=(data,))
        return tf.nest.map_structure(
            lambda value: strategy.experimental_local_results(value)[0], results
        )

    @tf.function(reduce_retracing=True)
    def execution(iterator: Any) -> Any:
        results = one_step(iterator.get_next())
        for _ in tf.range(model.steps_per_execution - 1):
            data = iterator.get_next_as_optional()
            if data.has_value():
                results = one_step(data.get_value())
        return results

    def function(batches: Any) -> Any:
        if not isinstance(
            batches, tf.data.Iterator | tf.distribute.DistributedIterator
        ):
            batches = iter(
                strategy.experimental_distribute_dataset(_one(next(batches)))
            )
        return execution(batches)

    return function


def _one(batch: tuple[Any, ...]) -> tf.data.Dataset:
    """Return a data set of one batch."""
    values = tuple(part for part in batch if part is not None)
    # A data set takes a list for a tensor.
    values = keras.tree.map_structure(
        lambda part: part if isinstance(part, tf.RaggedTensor) else tf.constant(part),
        keras.tree.lists_to_tuples(values),
    )
    return tf.data.Dataset.from_tensors(values)
