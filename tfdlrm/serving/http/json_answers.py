"""TF Serving's JSON answers: arrays to rows or columns.

NaN and the infinities are written as `NaN` and `Infinity`, although JSON has neither.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import tensorflow as tf

from tfdlrm.serving.errors import refuse
from tfdlrm.serving.http.json_requests import Layout
from tfdlrm.serving.requests import (
    CLASSIFY,
    REGRESS,
    NamedArrays,
    example_response,
)
from tfdlrm.serving.servable import Signature
from tfdlrm.serving.unknown_report import Unknown


def predictions(
    outputs: Mapping[str, np.ndarray], layout: Layout, unknown: Unknown | None = None
) -> bytes:
    """Return the answer to a `:predict` request, in the layout of its inputs.

    Args:
        outputs: Outputs by name.
        layout: Layout of the inputs.
        unknown: The unknown values of each row, where the answer is to list them.

    Raises:
        ServingError: If the layout is of rows and the outputs are no batch.
    """
    plain = {name: _plain(name, array) for name, array in outputs.items()}
    is_finite = all(map(_is_finite, outputs.values()))
    if layout == "columnar":
        values = plain if len(plain) > 1 else next(iter(plain.values()))
        return _dumps({"outputs": values}, is_finite, unknown)
    sizes = {
        name: array.shape[0] if array.ndim else None for name, array in outputs.items()
    }
    if None in sizes.values() or len(set(sizes.values())) > 1:
        refuse(f"outputs of inconsistent batch size: {sizes}; ask with 'inputs'")
    if len(plain) == 1:
        values = next(iter(plain.values()))
        return _dumps({"predictions": values}, is_finite, unknown)
    columns = zip(*plain.values(), strict=True)
    rows = [dict(zip(plain, row, strict=True)) for row in columns]
    return _dumps({"predictions": rows}, is_finite, unknown)


def classifications(
    signature: Signature, outputs: NamedArrays, unknown: Unknown | None = None
) -> bytes:
    """Return the answer to a `:classify` request: label and score of every class.

    Raises:
        ServingError: If the outputs are not those of a classifier.
    """
    response = example_response(CLASSIFY, signature, outputs)
    examples = response.result.classifications
    scores = [entry.score for example in examples for entry in example.classes]
    rows = [
        [[entry.label, np.float32(entry.score)] for entry in example.classes]
        for example in examples
    ]
    return _dumps({"results": rows}, _is_finite(np.array(scores)), unknown)


def regressions(
    signature: Signature, outputs: NamedArrays, unknown: Unknown | None = None
) -> bytes:
    """Return the answer to a `:regress` request.

    Raises:
        ServingError: If the outputs are not those of a regressor.
    """
    examples = example_response(REGRESS, signature, outputs).result.regressions
    values = np.array([example.value for example in examples], np.float32)
    return _dumps({"results": values}, _is_finite(values), unknown)


def _dumps(document: dict[str, Any], is_finite: bool, unknown: Unknown | None) -> bytes:
    """Return JSON with the shortest decimals that are read back as the same floats."""
    if unknown is not None:
        document["unknown"] = unknown
    if is_finite:
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    # orjson would write null.
    return json.dumps(document, default=_shortest).encode()


def _shortest(value: Any) -> Any:
    array = np.asarray(value)
    if array.dtype.kind == "f":
        array = array.astype(str).astype(np.float64)
    return array.tolist()


def _is_finite(array: np.ndarray) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _plain(name: str, array: np.ndarray) -> Any:
    """Return an array as a value that orjson and json can write."""
    if array.dtype == object:
        return _texts(array.tolist(), as_bytes=name.endswith("_bytes"))
    if array.dtype == tf.bfloat16.as_numpy_dtype:
        array = array.astype(np.float32)
    return np.ascontiguousarray(array) if array.ndim else array[()]


def _texts(value: Any, as_bytes: bool) -> Any:
    if isinstance(value, list):
        return [_texts(item, as_bytes) for item in value]
    if not as_bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass  # text would lose its bytes
    return {"b64": base64.b64encode(value).decode()}
