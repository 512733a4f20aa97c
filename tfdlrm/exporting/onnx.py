"""A model as an ONNX file, checked with ONNX Runtime before it is there."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdlrm.base.errors import InputError
from tfdlrm.layers._devices import without_tf32

FILE_NAME = "model.onnx"
OPSET = 18

LARGE_BYTES = 1 << 20
"""Weights from this size on are in a file of their own: ONNX ends at 2 GiB a file."""

_PAGE = 4096  # where weights in that file begin, so that they can be mapped to memory


def write_onnx(
    model: keras.Model,
    serving_function: Callable[..., Any],
    rows: Mapping[str, tf.Tensor],
    directory: Path,
) -> Path:
    """Write `model.onnx` into an existing directory, with what it needs beside it.

    Inputs and outputs have the names, types and shapes of `serving_function`. Weights
    of 1 MiB and more go to `model.onnx.data`.

    Args:
        model: The model whose weights `serving_function` uses.
        serving_function: A `tf.function` with an input signature, from features to a
            dictionary of outputs.
        rows: Features, by the names of the inputs, to compare the outputs on.
        directory: Where to write.

    Returns:
        The path of `model.onnx`.

    Raises:
        InputError: If tf2onnx or ONNX Runtime is not installed, or if ONNX Runtime
            cannot run what was written, or computes something else.
    """
    require_onnx()
    with without_tf32():  # which ONNX Runtime does not have
        return _write_and_verify(model, serving_function, rows, directory)


def _write_and_verify(
    model: keras.Model,
    serving_function: Callable[..., Any],
    rows: Mapping[str, tf.Tensor],
    directory: Path,
) -> Path:
    large = [
        weight
        for weight in model.weights
        if weight.dtype == "float32" and np.prod(weight.shape) * 4 >= LARGE_BYTES
    ]
    proto = _convert(serving_function, large)
    target = directory / FILE_NAME
    if large:
        _write_large(proto, large, target.with_suffix(".onnx.data"))
    target.write_bytes(proto.SerializeToString())
    _verify(target, serving_function, rows)
    return target


def require_onnx() -> None:
    """See to it that the libraries are there.

    Raises:
        InputError: If one is not.
    """
    try:
        import onnxruntime  # noqa: F401
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"the format onnx needs {error.name}, which is not installed: "
            "pip install -r requirements-onnx.txt"
        ) from None


def _convert(serving_function: Any, large: list[keras.Variable]) -> Any:
    """The ONNX model, with each large weight as one more input."""
    import tf2onnx.convert

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    signature = serving_function.input_signature
    arguments = [
        tf.TensorSpec(weight.shape, tf.float32, f"large_weight_{i}")
        for i, weight in enumerate(large)
    ]

    # As constants of the graph the tables would have to fit into it, several times.
    @tf.function(input_signature=[*signature, *arguments])
    def with_weights(*values: tf.Tensor) -> Any:
        inputs, weights = values[: len(signature)], values[len(signature) :]
        state = list(zip(large, weights, strict=True))
        with keras.StatelessScope(state_mapping=state):
            return serving_function.python_function(*inputs)

    proto, _ = tf2onnx.convert.from_function(
        with_weights,
        with_weights.input_signature,
        opset=OPSET,
        # By itself tf2onnx compares integers as float32, which ids above 2**24 do not
        # survive; ONNX has compared integers since opset 9.
        custom_op_handlers={op: (_keep, []) for op in ("Less", "Greater")},
    )
    for value, spec in zip(proto.graph.input, signature, strict=False):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
        if value.name != spec.name:
            raise RuntimeError(f"input {spec.name} became {value.name}")
    return proto


def _keep(context: Any, node: Any, name: str, args: Any) -> None:
    """Take an operation over as it is."""


def _write_large(proto: Any, large: list[keras.Variable], path: Path) -> None:
    """Turn the inputs for the large weights into weights held in `path`."""
    import onnx

    graph = proto.graph
    first = len(graph.input) - len(large)
    names = [value.name for value in graph.input[first:]]
    del graph.input[first:]
    with path.open("wb") as file:
        for name, weight in zip(names, large, strict=True):
            file.seek(-(-file.tell() // _PAGE) * _PAGE)
            tensor = graph.initializer.add(
                name=name,
                dims=weight.shape,
                data_type=onnx.TensorProto.FLOAT,
                data_location=onnx.TensorProto.EXTERNAL,
            )
            place = {
                "location": path.name,
                "offset": file.tell(),
                "length": file.write(np.ascontiguousarray(weight).data.cast("B")),
            }
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))


def _verify(path: Path, serving_function: Any, rows: Mapping[str, tf.Tensor]) -> None:
    """Refuse a file that ONNX Runtime does not run as TensorFlow runs the model."""
    import onnxruntime

    inputs = {
        spec.name: tf.cast(rows[spec.name], spec.dtype)
        for spec in serving_function.input_signature
    }
    expected = serving_function(**inputs)
    try:
        session = onnxruntime.InferenceSession(
            str(path), providers=["CPUExecutionProvider"]
        )
        arguments = {name: value.numpy() for name, value in inputs.items()}
        found = session.run(list(expected), arguments)
    except Exception as error:  # its exceptions have no common base
        raise InputError(
            "this model cannot be written as ONNX: ONNX Runtime does not run it "
            f"({str(error).splitlines()[0]}); export it as saved_model"
        ) from None
    for name, value in zip(expected, found, strict=True):
        difference = np.max(np.abs(value - expected[name].numpy()), initial=0)
        if not difference <= 1e-5:
            raise InputError(
                f"this model cannot be written as ONNX: its {name} differs by up to "
                f"{difference:.1e} in ONNX Runtime; export it as saved_model"
            )
