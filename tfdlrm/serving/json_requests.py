"""TF Serving's JSON requests: rows or columns to arrays.

NaN and the infinities are read as such, which JSON has no way to say otherwise.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from itertools import chain
from typing import Any, Literal

import numpy as np
import orjson
import tensorflow as tf
from tensorflow_serving.apis import input_pb2

from tfdlrm.serving.errors import refuse
from tfdlrm.serving.servable import Signature

Layout = Literal["row", "columnar"]

_LARGEST_INTEGER = {tf.float16: 2**11, tf.float32: 2**24, tf.float64: 2**53}
"""From there on, a type of floats skips integers."""

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
            document = json.loads(body)
            # Half of a surrogate pair is no text, which orjson knows.
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        refuse(f"JSON Parse error: {error}")
    if not isinstance(document, dict):
        refuse(f"JSON Value is {_kind(document)}, expected an object")
    return document


def signature_name(document: Mapping[str, Any]) -> str:
    """The signature that a request names, or an empty string."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        refuse("'signature_name' key must be a string value.")
    return name


def predict_inputs(
    document: Mapping[str, Any], signature: Signature
) -> tuple[dict[str, np.ndarray], Layout]:
    """The arrays of a `:predict` request.

    Raises:
        ServingError: If they are not what the signature takes.
    """
    if ("instances" in document) == ("inputs" in document):
        refuse("expected one of the keys 'inputs' and 'instances'")
    layout: Layout = "columnar" if "inputs" in document else "row"
    if layout == "columnar":
        columns = _columns(document["inputs"], signature)
    else:
        columns = _rows(document["instances"], signature)
    arrays = {
        name: to_array(name, values, signature.inputs[name].dtype)
        for name, values in columns.items()
    }
    return arrays, layout


def _columns(inputs: Any, signature: Signature) -> dict[str, Any]:
    if not isinstance(inputs, dict) or _is_base64(inputs):
        return {_only_input(signature): inputs}
    for name in signature.inputs:
        if name not in inputs:
            refuse(f"Missing named input: {name} in 'inputs' object.")
    return {name: inputs[name] for name in signature.inputs}


def _rows(instances: Any, signature: Signature) -> dict[str, Any]:
    if not isinstance(instances, list):
        refuse(f"'instances' is {_kind(instances)}, expected a list")
    if not instances:
        refuse("No values in 'instances' array")
    are_objects = isinstance(instances[0], dict) and not _is_base64(instances[0])
    if not are_objects:
        name = _only_input(signature)
        for row, instance in enumerate(instances):
            if isinstance(instance, dict) and not _is_base64(instance):
                refuse(f"Expecting value/list but got object at item {row}")
        return {name: instances}
    names = signature.inputs.keys()
    for row, instance in enumerate(instances):
        if not isinstance(instance, dict):
            refuse(f"Expecting object but got {_kind(instance)} at item {row}")
        if instance.keys() != names:
            refuse(
                f"Failed to process element: {row} of 'instances' list. JSON object "
                f"keys must be equal to: {','.join(names)}"
            )
    return {name: [instance[name] for instance in instances] for name in names}


def _only_input(signature: Signature) -> str:
    if len(signature.inputs) > 1:
        refuse(
            "plain values where an object is expected: the signature has the inputs "
            f"{', '.join(signature.inputs)}"
        )
    return next(iter(signature.inputs))


def to_array(name: str, values: Any, dtype: tf.DType) -> np.ndarray:
    """An array of nested lists; nothing is converted that loses by it.

    Raises:
        ServingError: If the lists are ragged, or hold something else.
    """
    shape: list[int] = []
    level: list[Any] = [values]
    while level and isinstance(level[0], list):
        size = len(level[0])
        if any(type(each) is not list or len(each) != size for each in level):
            refuse(f"input {name} has lists of different sizes at depth {len(shape)}")
        shape.append(size)
        level = list(chain.from_iterable(level))
    if len(shape) > MAX_DIMENSIONS:
        refuse(f"input {name} has {len(shape)} dimensions")
    return _converted(name, level, dtype).reshape(shape)


def _converted(name: str, values: list[Any], dtype: tf.DType) -> np.ndarray:
    kinds = set(map(type, values))
    expected: set[Any]
    if dtype == tf.string:
        expected = {str, dict}
    elif dtype == tf.bool:
        expected = {bool}
    else:
        expected = {int, float} if dtype.is_floating else {int}
    if not kinds <= expected:
        odd = next(each for each in values if type(each) not in expected)
        refuse(f"input {name} has {_kind(odd)}, expected {dtype.name}")
    if dtype == tf.string:
        array = np.empty(len(values), object)
        array[:] = [
            each.encode() if isinstance(each, str) else _decoded(each)
            for each in values
        ]
        return array
    if dtype.is_floating:
        return _floats(name, values, dtype, int in kinds)
    try:
        wide = np.array(values, np.uint64 if dtype == tf.uint64 else np.int64)
        if dtype.is_integer and values:
            info = np.iinfo(dtype.as_numpy_dtype)
            if wide.min() < info.min or wide.max() > info.max:
                raise OverflowError
    except (OverflowError, ValueError, TypeError):
        refuse(f"input {name} has an integer beyond {dtype.name}")
    return wide.astype(dtype.as_numpy_dtype)


def _floats(
    name: str, values: list[Any], dtype: tf.DType, has_integers: bool
) -> np.ndarray:
    if has_integers:
        largest = _LARGEST_INTEGER.get(dtype, 2**8)
        for each in values:
            if type(each) is int and abs(each) > largest:
                refuse(
                    f"Cannot convert JSON value: {str(each)[:40]} of input {name} to "
                    f"{dtype.name} without loss of precision."
                )
    wide = np.array(values, np.float64)
    with np.errstate(over="ignore"):
        array = wide.astype(dtype.as_numpy_dtype)
    if (np.isinf(array) & np.isfinite(wide)).any():
        refuse(f"input {name} has a number beyond {dtype.name}")
    return array


def _is_base64(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"b64"}
        and isinstance(value["b64"], str)
    )


def _decoded(value: dict[str, Any]) -> bytes:
    if not _is_base64(value):
        refuse('an object is not formatted correctly for base64 data: {"b64": TEXT}')
    # As TF Serving reads it: broken into lines, and without its padding too.
    text = "".join(value["b64"].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        refuse("Unable to base64 decode")


def example_input(document: Mapping[str, Any]) -> input_pb2.Input:
    """The examples of a `:classify` or `:regress` request.

    Raises:
        ServingError: If they are no objects of features.
    """
    examples = document.get("examples")
    if not isinstance(examples, list) or not examples:
        refuse("expected the key 'examples' with a list of objects")
    read = input_pb2.Input()
    if "context" in document:
        target = read.example_list_with_context
        _fill_example(target.context, document["context"])
    else:
        target = read.example_list
    for example in examples:
        _fill_example(target.examples.add(), example)
    return read


def _fill_example(target: tf.train.Example, example: Any) -> None:
    if not isinstance(example, dict):
        refuse(f"Example must be JSON object but got {_kind(example)}")
    for name, content in example.items():
        values = content if isinstance(content, list) else [content]
        kinds = set(map(type, values))
        feature = target.features.feature[name]
        if kinds <= {int, bool}:
            if any(not -(2**63) <= each < 2**63 for each in values):
                refuse(f"Feature: {name} has an integer beyond int64")
            feature.int64_list.value.extend(map(int, values))
        elif kinds == {float}:
            feature.float_list.value.extend(
                _floats(name, values, tf.float32, False).tolist()
            )
        elif kinds <= {str, dict}:
            feature.bytes_list.value.extend(
                each.encode() if isinstance(each, str) else _decoded(each)
                for each in values
            )
        else:
            refuse(f"Feature: {name} has elements of other types, or of several")


def _kind(value: Any) -> str:
    names: dict[type, str] = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a bool",
        type(None): "null",
    }
    if type(value) in (int, float):
        return f"the number {str(value)[:40]}"
    return names.get(type(value), type(value).__name__)
