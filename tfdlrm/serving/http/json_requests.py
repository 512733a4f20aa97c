"""TF Serving's JSON requests: rows or columns to arrays.

`NaN` and `Infinity` are read as floats, although JSON has neither.

Loads no TensorFlow: large requests are read in a process that has none.
"""

import json
import math
from collections.abc import Mapping
from itertools import chain
from typing import Any, Literal

import numpy as np
import orjson

from tfdlrm.serving.data_types import DataType, text_array
from tfdlrm.serving.errors import refuse
from tfdlrm.serving.http.json_keys import are_raw, unlike
from tfdlrm.serving.http.json_raw import raw_array
from tfdlrm.serving.http.json_values import describe, encode, is_base64
from tfdlrm.serving.tensor_specs import Specs, TensorSpec, only_input

Layout = Literal["row", "columnar"]

MAX_DIMENSIONS = 32


def parse(body: bytes) -> dict[str, Any]:
    """Read a request.

    Raises:
        ServingError: If it is no JSON object.
    """
    try:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            if b"NaN" not in body and b"Infinity" not in body:
                raise
            document = json.loads(body, parse_float=_finite)
            # Refuse half of a surrogate pair, which is no text, as orjson does.
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        refuse(f"JSON Parse error: {error}")
    if not isinstance(document, dict):
        refuse(f"JSON Value is {describe(document)}, expected an object")
    return document


def _finite(text: str) -> float:
    """Read a number as `orjson` does, which takes none beyond float64 for infinity."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:40]} is infinity when parsed as double")
    return number


def signature_name(document: Mapping[str, Any]) -> str:
    """Return the signature that a request names, or an empty string."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        refuse("'signature_name' key must be a string value.")
    return name


def predict_inputs(
    document: Mapping[str, Any], specs: Specs, max_rows: int
) -> tuple[dict[str, np.ndarray], Layout]:
    """Return the arrays of a `:predict` request.

    Args:
        document: The request.
        specs: The inputs of its signature.
        max_rows: More instances are refused.

    Raises:
        ServingError: If they are not what the signature takes.
    """
    if ("instances" in document) == ("inputs" in document):
        refuse("expected one of the keys 'inputs' and 'instances'")
    layout: Layout = "columnar" if "inputs" in document else "row"
    if layout == "columnar":
        columns = _columns(document["inputs"], specs)
    else:
        check_rows("instances", document["instances"], max_rows)
        columns = _rows(document["instances"], specs)
    arrays = {
        name: _array(name, values, specs[name]) for name, values in columns.items()
    }
    return arrays, layout


def _array(name: str, values: Any, spec: TensorSpec) -> np.ndarray:
    if spec.column is None:
        return to_array(name, values, spec.dtype)
    return raw_array(name, values, spec.column)


def _columns(inputs: Any, specs: Specs) -> dict[str, Any]:
    if not isinstance(inputs, dict) or is_base64(inputs):
        return {only_input(specs): inputs}
    for name in specs:
        if name not in inputs:
            refuse(
                f"Missing named input: {name} in 'inputs' object "
                f"({unlike(inputs, specs)})"
            )
    # TF Serving ignores further inputs; of a raw row they are probably a mistake.
    if are_raw(specs) and len(inputs) > len(specs):
        refuse(
            f"Keys of the 'inputs' object must be equal to: {','.join(specs)} "
            f"({unlike(inputs, specs)})"
        )
    return {name: inputs[name] for name in specs}


def check_rows(key: str, rows: Any, max_rows: int) -> None:
    """Refuse a list of more rows than a request may have."""
    if isinstance(rows, list) and len(rows) > max_rows:
        refuse(f"'{key}' has {len(rows)} rows, expected <= {max_rows}")


def _rows(instances: Any, specs: Specs) -> dict[str, Any]:
    if not isinstance(instances, list):
        refuse(f"'instances' is {describe(instances)}, expected a list")
    if not instances:
        refuse("No values in 'instances' array")
    are_objects = isinstance(instances[0], dict) and not is_base64(instances[0])
    if not are_objects:
        name = only_input(specs)
        for row, instance in enumerate(instances):
            if isinstance(instance, dict) and not is_base64(instance):
                refuse(f"Expecting value/list but got object at item {row}")
        return {name: instances}
    names = specs.keys()
    for row, instance in enumerate(instances):
        if not isinstance(instance, dict):
            refuse(f"Expecting object but got {describe(instance)} at item {row}")
        if instance.keys() != names:
            refuse(
                f"Failed to process element: {row} of 'instances' list "
                f"({unlike(instance, specs)}). JSON object keys must be equal to: "
                f"{','.join(names)}"
            )
    return {name: [instance[name] for instance in instances] for name in names}


def to_array(name: str, values: Any, dtype: DataType) -> np.ndarray:
    """Return nested lists as an array; conversions that lose precision are refused.

    Raises:
        ServingError: If the lists are ragged, or hold values of another type.
    """
    shape: list[int] = []
    level: list[Any] = [values]
    while level and isinstance(level[0], list):
        size = len(level[0])
        if any(type(item) is not list or len(item) != size for item in level):
            refuse(f"input {name} has lists of different sizes at depth {len(shape)}")
        shape.append(size)
        level = list(chain.from_iterable(level))
    if len(shape) > MAX_DIMENSIONS:
        refuse(f"input {name} has {len(shape)} dimensions")
    return _convert(name, level, dtype).reshape(shape)


def _convert(name: str, values: list[Any], dtype: DataType) -> np.ndarray:
    types = set(map(type, values))
    expected: set[Any]
    if dtype.is_text:
        expected = {str, dict}
    elif dtype.name == "bool":
        expected = {bool}
    else:
        expected = {int, float} if dtype.is_floating else {int}
    if not types <= expected:
        odd = next(value for value in values if type(value) not in expected)
        refuse(f"input {name} has {describe(odd)}, expected {dtype.name}")
    if dtype.is_text:
        return text_array(list(map(encode, values)))
    if dtype.is_floating:
        return floats(name, values, dtype, int in types)
    try:
        wide = np.array(values, np.uint64 if dtype.name == "uint64" else np.int64)
        if dtype.name != "bool" and values:
            info = np.iinfo(dtype.numpy)
            if wide.min() < info.min or wide.max() > info.max:
                raise OverflowError
    except (OverflowError, ValueError, TypeError):
        refuse(f"input {name} has an integer beyond {dtype.name}")
    return wide.astype(dtype.numpy)


def floats(
    name: str, values: list[Any], dtype: DataType, has_integers: bool
) -> np.ndarray:
    """Return numbers as an array of a floating type.

    Raises:
        ServingError: If a number is beyond the type, or an integer not exact in it.
    """
    if has_integers:
        for value in values:
            if type(value) is int and abs(value) > dtype.largest_integer:
                refuse(
                    f"Cannot convert JSON value: {str(value)[:40]} of input {name} to "
                    f"{dtype.name} without loss of precision."
                )
    wide = np.array(values, np.float64)
    with np.errstate(over="ignore"):
        array = wide.astype(dtype.numpy)
    if (np.isinf(array) & np.isfinite(wide)).any():
        refuse(f"input {name} has a number beyond {dtype.name}")
    return array
