"""Means and squares of the rows of a batch that replicas share, for TensorFlow."""

import tensorflow as tf


def of_all_replicas(
    rows: tf.Tensor, mean: tf.Tensor, squares: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the moments of a batch from those of one replica's rows.

    Gradients pass to the rows of all replicas.

    Args:
        rows: Number of this replica's rows, a float.
        mean: Mean of each unit over these rows, `(units,)`.
        squares: Sum of the squared deviations from that mean, `(units,)`.

    Returns:
        The same three for the rows of all replicas.

    Reference:
        Chan, Golub and LeVeque, 1983, "Algorithms for computing the sample variance",
        whose sums do not cancel.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return rows, mean, squares
    parts = _gather(tf.concat([rows[None], mean, squares], axis=0), context)
    part_rows, part_means, part_squares = tf.split(
        parts, [1, mean.shape[0], mean.shape[0]], axis=1
    )
    all_rows = tf.reduce_sum(part_rows)
    shares = part_rows / tf.maximum(all_rows, 1.0)  # (replicas, 1)
    all_mean = tf.reduce_sum(shares * part_means, axis=0)
    between = part_rows * tf.square(part_means - all_mean)
    return all_rows, all_mean, tf.reduce_sum(part_squares + between, axis=0)


def _gather(values: tf.Tensor, context: tf.distribute.ReplicaContext) -> tf.Tensor:
    """Return the values of every replica, `(replicas, values)`."""
    # A sum of what is 0 elsewhere: its gradient is a sum too, and it needs no shapes.
    own_row = tf.one_hot(
        context.replica_id_in_sync_group,
        context.num_replicas_in_sync,
        dtype=values.dtype,
    )
    rows = own_row[:, None] * values
    return context.all_reduce(tf.distribute.ReduceOp.SUM, rows)


def has_one_copy() -> bool:
    """Return whether all replicas of the strategy in scope share its variables."""
    strategy = tf.distribute.get_strategy()
    return isinstance(strategy, tf.distribute.experimental.CentralStorageStrategy)
