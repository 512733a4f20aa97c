"""`TensorProto` to NumPy and back, trusting nothing that a client wrote.

Loads no TensorFlow: large requests are read in a process that has none.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfdlrm.serving.data_types import DataType, by_number, text_array
from tfdlrm.serving.errors import refuse

MAX_ELEMENTS = 2**26
"""Most values of a tensor, since one value may stand for all of them."""

MAX_FILLED = 2**22
"""Most values of a tensor that has several values and repeats its last one."""


def from_proto(name: str, proto: Any, dtype: DataType) -> np.ndarray:
    """Return the array of an input.

    As in TensorFlow, the last value stands for all values that are missing, and a
    tensor without values holds zeros.

    Args:
        name: Name of the input, for messages.
        proto: The `TensorProto`.
        dtype: The type that the signature wants.

    Raises:
        ServingError: If the type is another, or the shape and the values disagree.
    """
    if proto.dtype != dtype.number:
        refuse(f"input {name} is {_type_name(proto.dtype)}, expected {dtype.name}")
    shape = proto_shape(name, proto)
    if any(size < 0 for size in shape):
        refuse(f"input {name} has the shape {shape}, expected no size below 0")
    count = math.prod(shape)
    # NumPy also limits the other sizes where one is 0.
    if math.prod(size or 1 for size in shape) > MAX_ELEMENTS or len(shape) > 32:
        refuse(f"input {name} has the shape {shape}, expected <= {MAX_ELEMENTS} values")
    if proto.tensor_content:
        return _from_content(name, proto.tensor_content, dtype, shape)
    values = getattr(proto, dtype.field)
    if len(values) > count:
        refuse(f"input {name} has {len(values)} values for the shape {shape}")
    array = _from_values(name, values, dtype)
    if len(array) == count:
        return array.reshape(shape)
    if len(array) <= 1:
        # All share one value in memory, since their number has not been checked yet.
        value = array if len(array) else _zero(dtype)
        return np.broadcast_to(value, count).reshape(shape)
    if count > MAX_FILLED:
        refuse(f"input {name} has {len(array)} values for the shape {shape}")
    filler = np.repeat(array[-1:], count - len(array))
    return np.concatenate([array, filler]).reshape(shape)


def proto_shape(name: str, proto: Any) -> list[int]:
    """Return the shape that a `TensorProto` claims.

    Raises:
        ServingError: If it has none.
    """
    if proto.tensor_shape.unknown_rank:
        refuse(f"input {name} has no shape")
    return [dim.size for dim in proto.tensor_shape.dim]


def _from_content(
    name: str, content: bytes, dtype: DataType, shape: Sequence[int]
) -> np.ndarray:
    if dtype.is_text:
        refuse(f"input {name} has its strings in tensor_content, expected string_val")
    expected = math.prod(shape) * dtype.numpy.itemsize
    if len(content) != expected:
        refuse(
            f"input {name} has {len(content)} bytes of tensor_content for the shape "
            f"{list(shape)}, expected {expected}"
        )
    if dtype.name == "bool":  # a byte other than 0 and 1 is no bool
        return np.frombuffer(content, np.uint8).reshape(shape) != 0
    return np.frombuffer(content, dtype.numpy).reshape(shape)


def _from_values(name: str, values: Any, dtype: DataType) -> np.ndarray:
    if dtype.is_text:
        return text_array(values)
    if dtype.field == "half_val":  # the bits of floats, as integers
        bits = np.fromiter(values, np.int64, len(values)).astype(np.uint16)
        return bits.view(dtype.numpy)
    if dtype.field != "int_val":
        return np.fromiter(values, dtype.numpy, len(values))
    wide = np.fromiter(values, np.int32, len(values))
    array = wide.astype(dtype.numpy)
    if (array != wide).any():
        refuse(f"input {name} has a value that is no {dtype.name}")
    return array


def _zero(dtype: DataType) -> np.ndarray:
    if dtype.is_text:
        return text_array([b""])
    return np.zeros(1, dtype.numpy)


def fill_proto(proto: Any, array: np.ndarray, dtype: DataType) -> None:
    """Write an array into an empty `TensorProto`, in the field of its type."""
    proto.dtype = dtype.number
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    flat = array.ravel()
    if dtype.field == "half_val":
        flat = flat.view(np.uint16)
    getattr(proto, dtype.field).extend(flat.tolist())


def _type_name(number: int) -> str:
    dtype = by_number(number)
    return f"of the unknown type {number}" if dtype is None else dtype.name
