"""`TensorProto` to NumPy and back, trusting nothing that a client wrote."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from tfdlrm.serving.errors import refuse

_FIELDS = {
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int8: "int_val",
    tf.int16: "int_val",
    tf.int32: "int_val",
    tf.uint8: "int_val",
    tf.uint16: "int_val",
    tf.int64: "int64_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
    tf.bool: "bool_val",
    tf.string: "string_val",
    tf.float16: "half_val",
    tf.bfloat16: "half_val",
}
"""Where a `TensorProto` keeps the values of a type."""

_KINDS = {dtype: np.dtype(dtype.as_numpy_dtype) for dtype in _FIELDS}

MAX_ELEMENTS = 2**26
"""One value may stand for a whole tensor: this many at most."""

MAX_FILLED = 2**22
"""Values of a tensor that is filled up from several ones."""


def is_supported(dtype: tf.DType) -> bool:
    """Whether tensors of this type can come and go."""
    return dtype in _FIELDS


def from_proto(name: str, proto: tensor_pb2.TensorProto, dtype: tf.DType) -> np.ndarray:
    """The array of an input.

    As in TensorFlow, the last value stands for all that are missing, and none at all
    for zeros.

    Args:
        name: The input's, for messages.
        proto: What came.
        dtype: What the signature wants.

    Raises:
        ServingError: If the type is another, or the shape and the values disagree.
    """
    if proto.dtype != dtype.as_datatype_enum:
        refuse(f"input {name} is {_type_name(proto.dtype)}, expected {dtype.name}")
    if proto.tensor_shape.unknown_rank:
        refuse(f"input {name} has no shape")
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if any(size < 0 for size in shape):
        refuse(f"input {name} has the shape {shape}, expected no size below 0")
    count = math.prod(shape)
    # NumPy has limits for the sizes beside a zero, too.
    if math.prod(size or 1 for size in shape) > MAX_ELEMENTS or len(shape) > 32:
        refuse(f"input {name} has the shape {shape}, expected <= {MAX_ELEMENTS} values")
    if proto.tensor_content:
        return _from_content(name, proto.tensor_content, dtype, shape)
    values = getattr(proto, _FIELDS[dtype])
    if len(values) > count:
        refuse(f"input {name} has {len(values)} values for the shape {shape}")
    array = _from_values(name, values, dtype)
    if len(array) == count:
        return array.reshape(shape)
    if len(array) <= 1:
        # One place in memory for all, since nobody has checked yet how many they are.
        one = array if len(array) else _zero(dtype)
        return np.broadcast_to(one, count).reshape(shape)
    if count > MAX_FILLED:
        refuse(f"input {name} has {len(array)} values for the shape {shape}")
    filler = np.repeat(array[-1:], count - len(array))
    return np.concatenate([array, filler]).reshape(shape)


def _from_content(
    name: str, content: bytes, dtype: tf.DType, shape: Sequence[int]
) -> np.ndarray:
    if dtype is tf.string:
        refuse(f"input {name} has its strings in tensor_content, expected string_val")
    kind = _KINDS[dtype]
    expected = math.prod(shape) * kind.itemsize
    if len(content) != expected:
        refuse(
            f"input {name} has {len(content)} bytes of tensor_content for the shape "
            f"{list(shape)}, expected {expected}"
        )
    if kind.kind == "b":  # other bytes than 0 and 1 are no bool
        return np.frombuffer(content, np.uint8).reshape(shape) != 0
    return np.frombuffer(content, kind).reshape(shape)


def _from_values(name: str, values: Any, dtype: tf.DType) -> np.ndarray:
    kind = _KINDS[dtype]
    if dtype is tf.string:
        array = np.empty(len(values), object)
        array[:] = values
        return array
    if dtype in (tf.float16, tf.bfloat16):  # their bits, as integers
        return np.fromiter(values, np.int64, len(values)).astype(np.uint16).view(kind)
    if _FIELDS[dtype] != "int_val":
        return np.fromiter(values, kind, len(values))
    wide = np.fromiter(values, np.int32, len(values))
    array = wide.astype(kind)
    if (array != wide).any():
        refuse(f"input {name} has a value that is no {dtype.name}")
    return array


def _zero(dtype: tf.DType) -> np.ndarray:
    if dtype == tf.string:
        array = np.empty(1, object)
        array[0] = b""
        return array
    return np.zeros(1, dtype.as_numpy_dtype)


def fill_proto(
    proto: tensor_pb2.TensorProto, array: np.ndarray, dtype: tf.DType
) -> None:
    """Write an output into an empty proto, in the field of its type."""
    proto.dtype = dtype.as_datatype_enum
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    flat = array.ravel()
    if dtype in (tf.float16, tf.bfloat16):
        flat = flat.view(np.uint16)
    getattr(proto, _FIELDS[dtype]).extend(flat.tolist())


def _type_name(number: int) -> str:
    try:
        return tf.dtypes.as_dtype(number).name
    except TypeError:
        return f"of the unknown type {number}"
