"""Types of the tensors of requests; loads no TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np


@dataclass(frozen=True)
class DataType:
    """A type of a tensor's values.

    Args:
        name: TensorFlow's name.
        number: Number of the type in a `TensorProto`.
        field: Field of a `TensorProto` that holds such values.
        numpy: NumPy's type.
        largest_integer: Largest integer up to which a type of floats has every
            integer; 0 for other types.
    """

    name: str
    number: int
    field: str
    numpy: np.dtype
    largest_integer: int = 0

    @property
    def is_text(self) -> bool:
        """Whether the values are strings of bytes."""
        return self.name == "string"

    @property
    def is_floating(self) -> bool:
        """Whether the values are floats."""
        return self.largest_integer > 0


FLOAT32 = DataType("float32", 1, "float_val", np.dtype(np.float32), 2**24)
TEXT = DataType("string", 7, "string_val", np.dtype(object))

_ALL = [
    FLOAT32,
    DataType("float64", 2, "double_val", np.dtype(np.float64), 2**53),
    DataType("int32", 3, "int_val", np.dtype(np.int32)),
    DataType("uint8", 4, "int_val", np.dtype(np.uint8)),
    DataType("int16", 5, "int_val", np.dtype(np.int16)),
    DataType("int8", 6, "int_val", np.dtype(np.int8)),
    TEXT,
    DataType("int64", 9, "int64_val", np.dtype(np.int64)),
    DataType("bool", 10, "bool_val", np.dtype(bool)),
    DataType("bfloat16", 14, "half_val", np.dtype(ml_dtypes.bfloat16), 2**8),
    DataType("uint16", 17, "int_val", np.dtype(np.uint16)),
    DataType("float16", 19, "half_val", np.dtype(np.float16), 2**11),
    DataType("uint32", 22, "uint32_val", np.dtype(np.uint32)),
    DataType("uint64", 23, "uint64_val", np.dtype(np.uint64)),
]
_BY_NUMBER = {dtype.number: dtype for dtype in _ALL}


def by_number(number: int) -> DataType | None:
    """Return the type with a number, or `None` if it is not supported."""
    return _BY_NUMBER.get(number)


def by_numpy(numpy_type: Any) -> DataType | None:
    """Return the type with a type of NumPy, or `None` if it is not supported."""
    if numpy_type in (np.bytes_, np.str_, np.object_):
        return TEXT
    return next((dtype for dtype in _ALL if dtype.numpy == np.dtype(numpy_type)), None)


def text_array(texts: Sequence[bytes]) -> np.ndarray:
    """Return byte strings as an array of objects, shape `(texts,)`."""
    array = np.empty(len(texts), object)
    array[:] = texts
    return array
