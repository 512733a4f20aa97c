"""A model as an ONNX file, which ONNX Runtime checks before it appears."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdlrm.base.errors import InputError
from tfdlrm.exporting.checks import PADDING_ID
from tfdlrm.layers._devices import without_tf32

FILE_NAME = "model.onnx"
OPSET = 18

LARGE_BYTES = 1 << 20
"""Weights of at least this size go to a separate file: ONNX allows 2 GiB a file."""

_PAGE = 4096  # alignment of weights in that file, so that they can be mapped to memory


def write_onnx(
    model: keras.Model,
    serving_function: Callable[..., Any],
    rows: Mapping[str, tf.Tensor],
    directory: Path,
) -> Path:
    """Write `model.onnx`, and `model.onnx.data` if needed, into an existing directory.

    Inputs and outputs have the names, types and shapes of `serving_function`. Weights
    of 1 MiB and more go to `model.onnx.data`.

    Args:
        model: The model whose weights `serving_function` uses.
        serving_function: A `tf.function` with an input signature, from features to a
            dictionary of outputs.
        rows: Features, by the names of the inputs, to compare the outputs on.
        directory: The directory to write into.

    Returns:
        The path of `model.onnx`.

    Raises:
        InputError: If tf2onnx or ONNX Runtime is not installed, or if ONNX Runtime
            cannot run the file, or computes other outputs.
    """
    require_onnx()
    with without_tf32():  # ONNX Runtime does not have TF32
        return _write_and_verify(model, serving_function, rows, directory)


def _write_and_verify(
    model: keras.Model,
    serving_function: Callable[..., Any],
    rows: Mapping[str, tf.Tensor],
    directory: Path,
) -> Path:
    large_weights = [
        weight
        for weight in model.weights
        if weight.dtype == "float32" and np.prod(weight.shape) * 4 >= LARGE_BYTES
    ]
    proto = _convert(serving_function, large_weights)
    target = directory / FILE_NAME
    if large_weights:
        _write_large(proto, large_weights, target.with_suffix(".onnx.data"))
    target.write_bytes(proto.SerializeToString())
    _verify(target, serving_function, rows)
    return target


def require_onnx() -> None:
    """Check that tf2onnx and ONNX Runtime are installed.

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


def _convert(serving_function: Any, large_weights: list[keras.Variable]) -> Any:
    """Return the ONNX model, with each large weight as one more input."""
    import tf2onnx.convert

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    signature = serving_function.input_signature
    arguments = [
        tf.TensorSpec(weight.shape, tf.float32, f"large_weight_{i}")
        for i, weight in enumerate(large_weights)
    ]

    # As constants, the tables would have to fit into the graph, and several times.
    @tf.function(input_signature=[*signature, *arguments])
    def with_weights(*values: tf.Tensor) -> Any:
        inputs, weights = values[: len(signature)], values[len(signature) :]
        state = list(zip(large_weights, weights, strict=True))
        with keras.StatelessScope(state_mapping=state):
            return serving_function.python_function(*inputs)

    proto, _ = tf2onnx.convert.from_function(
        with_weights,
        with_weights.input_signature,
        opset=OPSET,
        # By default tf2onnx compares integers as float32, which rounds ids above
        # 2**24; ONNX has compared integers since opset 9.
        custom_op_handlers={op: (_keep, []) for op in ("Less", "Greater")},
    )
    for value, spec in zip(proto.graph.input, signature, strict=False):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
        if value.name != spec.name:
            raise RuntimeError(f"input {spec.name} became {value.name}")
    return proto


def _keep(context: Any, node: Any, name: str, args: Any) -> None:
    """Copy an operation unchanged."""


def _write_large(proto: Any, large_weights: list[keras.Variable], path: Path) -> None:
    """Turn the inputs for the large weights into weights stored in `path`."""
    import onnx

    graph = proto.graph
    num_inputs = len(graph.input) - len(large_weights)
    names = [value.name for value in graph.input[num_inputs:]]
    del graph.input[num_inputs:]
    with path.open("wb") as file:
        for name, weight in zip(names, large_weights, strict=True):
            file.seek(-(-file.tell() // _PAGE) * _PAGE)
            tensor = graph.initializer.add(
                name=name,
                dims=weight.shape,
                data_type=onnx.TensorProto.FLOAT,
                data_location=onnx.TensorProto.EXTERNAL,
            )
            location = {
                "location": path.name,
                "offset": file.tell(),
                "length": file.write(np.ascontiguousarray(weight).data.cast("B")),
            }
            for key, value in location.items():
                tensor.external_data.add(key=key, value=str(value))


def _padded(values: Any) -> tf.Tensor:
    """Return features with padding after the ids of each bag, as ONNX takes them."""
    is_ragged = isinstance(values, tf.RaggedTensor)
    return values.to_tensor(PADDING_ID) if is_ragged else values


def _verify(path: Path, serving_function: Any, rows: Mapping[str, tf.Tensor]) -> None:
    """Refuse a file that ONNX Runtime does not run as TensorFlow runs the model."""
    import onnxruntime

    inputs = {
        spec.name: tf.cast(_padded(rows[spec.name]), spec.dtype)
        for spec in serving_function.input_signature
    }
    expected = serving_function(**inputs)
    try:
        session = onnxruntime.InferenceSession(
            str(path), providers=["CPUExecutionProvider"]
        )
        arguments = {name: value.numpy() for name, value in inputs.items()}
        outputs = session.run(list(expected), arguments)
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        raise InputError(
            "this model cannot be written as ONNX: ONNX Runtime does not run it "
            f"({str(error).splitlines()[0]}); export it as saved_model"
        ) from None
    for name, value in zip(expected, outputs, strict=True):
        difference = np.max(np.abs(value - expected[name].numpy()), initial=0)
        if not difference <= 1e-5:
            raise InputError(
                f"this model cannot be written as ONNX: its {name} differs by up to "
                f"{difference:.1e} in ONNX Runtime; export it as saved_model"
            )
