"""Steps of variables and of some of their rows, in place."""

from typing import Any

import tensorflow as tf

from tfdlrm.layers._table_rows import write_rows


def scatter_add(variable: tf.Variable, rows: Any, values: Any) -> None:
    """Add `values` to `rows` of `variable`, in place."""
    tf.raw_ops.ResourceScatterAdd(
        resource=variable.handle, indices=rows, updates=values
    )


def is_narrow(variable: tf.Variable) -> bool:
    """Return whether a variable has 16 bits, so that state and steps are float32."""
    return variable.dtype in (tf.float16, tf.bfloat16)


def subtract_rows(variable: tf.Variable, rows: Any, steps: Any) -> None:
    """Subtract `steps` from distinct `rows` of `variable`, and round once."""
    if is_narrow(variable):
        values = tf.cast(tf.gather(variable, rows), steps.dtype)
        write_rows(variable, rows, tf.cast(values - steps, variable.dtype))
    else:
        scatter_add(variable, rows, -steps)


def subtract(variable: tf.Variable, steps: Any) -> None:
    """Subtract `steps` from all of `variable`, and round once."""
    if is_narrow(variable):
        steps = tf.cast(variable, steps.dtype) - steps
        variable.assign(tf.cast(steps, variable.dtype))
    else:
        variable.assign_sub(steps)
