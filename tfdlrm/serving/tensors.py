"""`TensorProto` to NumPy and back, trusting nothing that a client wrote.

Loads no TensorFlow: large requests are read in a process that has none.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfdlrm.serving.data_types import DataType, by_number, data_type
from tfdlrm.serving.errors import refuse

MAX_ELEMENTS = 2**26
"""One value may stand for a whole tensor: this many at most."""

MAX_FILLED = 2**22
"""Values of a tensor that is filled up from several ones."""


def from_proto(name: str, proto: Any, dtype: Any) -> np.ndarray:
    """The array of an input.

    As in TensorFlow, the last value stands for all that are missing, and none at all
    for zeros.

    Args:
        name: The input's, for messages.
        proto: The `TensorProto`.
        dtype: The type that the signature wants, ours or TensorFlow's.

    Raises:
        ServingError: If the type is another, or the shape and the values disagree.
    """
    kind = data_type(dtype)
    if proto.dtype != kind.number:
        refuse(f"input {name} is {_type_name(proto.dtype)}, expected {kind.name}")
    shape = proto_shape(name, proto)
    if any(size < 0 for size in shape):
        refuse(f"input {name} has the shape {shape}, expected no size below 0")
    count = math.prod(shape)
    # NumPy has limits for the sizes beside a zero, too.
    if math.prod(size or 1 for size in shape) > MAX_ELEMENTS or len(shape) > 32:
        refuse(f"input {name} has the shape {shape}, expected <= {MAX_ELEMENTS} values")
    if proto.tensor_content:
        return _from_content(name, proto.tensor_content, kind, shape)
    values = getattr(proto, kind.field)
    if len(values) > count:
        refuse(f"input {name} has {len(values)} values for the shape {shape}")
    array = _from_values(name, values, kind)
    if len(array) == count:
        return array.reshape(shape)
    if len(array) <= 1:
        # One place in memory for all, since nobody has checked yet how many they are.
        one = array if len(array) else _zero(kind)
        return np.broadcast_to(one, count).reshape(shape)
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
    name: str, content: bytes, kind: DataType, shape: Sequence[int]
) -> np.ndarray:
    if kind.is_text:
        refuse(f"input {name} has its strings in tensor_content, expected string_val")
    expected = math.prod(shape) * kind.numpy.itemsize
    if len(content) != expected:
        refuse(
            f"input {name} has {len(content)} bytes of tensor_content for the shape "
            f"{list(shape)}, expected {expected}"
        )
    if kind.name == "bool":  # other bytes than 0 and 1 are no bool
        return np.frombuffer(content, np.uint8).reshape(shape) != 0
    return np.frombuffer(content, kind.numpy).reshape(shape)


def _from_values(name: str, values: Any, kind: DataType) -> np.ndarray:
    if kind.is_text:
        array = np.empty(len(values), object)
        array[:] = values
        return array
    if kind.field == "half_val":  # their bits, as integers
        bits = np.fromiter(values, np.int64, len(values)).astype(np.uint16)
        return bits.view(kind.numpy)
    if kind.field != "int_val":
        return np.fromiter(values, kind.numpy, len(values))
    wide = np.fromiter(values, np.int32, len(values))
    array = wide.astype(kind.numpy)
    if (array != wide).any():
        refuse(f"input {name} has a value that is no {kind.name}")
    return array


def _zero(kind: DataType) -> np.ndarray:
    if kind.is_text:
        array = np.empty(1, object)
        array[0] = b""
        return array
    return np.zeros(1, kind.numpy)


def fill_proto(proto: Any, array: np.ndarray, kind: DataType) -> None:
    """Write an output into an empty `TensorProto`, in the field of its type."""
    proto.dtype = kind.number
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    flat = array.ravel()
    if kind.field == "half_val":
        flat = flat.view(np.uint16)
    getattr(proto, kind.field).extend(flat.tolist())


def _type_name(number: int) -> str:
    kind = by_number(number)
    return f"of the unknown type {number}" if kind is None else kind.name
