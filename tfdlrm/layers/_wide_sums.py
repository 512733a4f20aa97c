"""The precision in which numbers of 16 bits are added up.

A sum kept in 16 bits stops growing once the next term is less than half of its last
digit: a sum of ones at 256 in bfloat16 and at 2,048 in float16.
"""

from typing import Any

import keras


def sum_dtype(dtype: Any) -> str:
    """Return the type for sums of numbers of a type: float32 for 16 bits.

    Args:
        dtype: Type of the numbers.

    Example:

    >>> sum_dtype("bfloat16"), sum_dtype("float64")
    ('float32', 'float64')
    """
    dtype = keras.backend.standardize_dtype(dtype)
    return "float32" if dtype in ("float16", "bfloat16") else dtype
