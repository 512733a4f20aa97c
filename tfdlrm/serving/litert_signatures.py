"""Read the signatures of a LiteRT model."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from tfdlrm.serving.data_types import by_numpy

Details = Mapping[str, Any]
"""What an interpreter says about a tensor: name, index, type and shape."""

METADATA = b"signature_defs_metadata"
"""Name of the part of a file in which TF Serving's older tools put signatures."""


def read_signatures(
    interpreter: Any, content: bytes
) -> dict[str, meta_graph_pb2.SignatureDef]:
    """Return the signatures of a model, whose tensors have the interpreter's names.

    A model without signatures gets one, `serving_default`, whose inputs and outputs
    have the names of its tensors.

    Args:
        interpreter: An interpreter of the model.
        content: The file of the model.
    """
    names = list(interpreter.get_signature_list())
    if names:
        runners = {name: interpreter.get_signature_runner(name) for name in names}
        return {
            name: definition(runner.get_input_details(), runner.get_output_details())
            for name, runner in runners.items()
        }
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    stored = _stored_signatures(content)
    if not stored:
        named_inputs, named_outputs = _by_name(inputs), _by_name(outputs)
        return {"serving_default": definition(named_inputs, named_outputs)}
    return {
        name: definition(
            _renamed(signature.inputs, inputs),
            _renamed(signature.outputs, outputs),
            signature.method_name,
        )
        for name, signature in stored.items()
    }


def definition(
    inputs: Mapping[str, Details],
    outputs: Mapping[str, Details],
    method: str = tf.saved_model.PREDICT_METHOD_NAME,
) -> meta_graph_pb2.SignatureDef:
    """Return a signature from the details of its tensors."""
    return meta_graph_pb2.SignatureDef(
        inputs={name: _info(details) for name, details in inputs.items()},
        outputs={name: _info(details) for name, details in outputs.items()},
        method_name=method,
    )


def _info(details: Details) -> meta_graph_pb2.TensorInfo:
    dtype = by_numpy(details["dtype"])
    info = meta_graph_pb2.TensorInfo(
        name=details["name"], dtype=0 if dtype is None else dtype.number
    )
    info.tensor_shape.SetInParent()
    shape = details["shape_signature"]
    for size in shape if len(shape) else details["shape"]:
        info.tensor_shape.dim.add().size = size
    return info


def _by_name(tensors: Iterable[Details]) -> dict[str, Details]:
    return {_plain(details["name"]): details for details in tensors}


def _plain(name: str) -> str:
    """Return the name of a tensor as users know it."""
    return name.removesuffix(":0").removeprefix("serving_default_")


def _renamed(
    infos: Mapping[str, meta_graph_pb2.TensorInfo], tensors: Sequence[Details]
) -> dict[str, Details]:
    by_name = {details["name"].removesuffix(":0"): details for details in tensors}
    return {name: by_name[info.name.removesuffix(":0")] for name, info in infos.items()}


def _stored_signatures(content: bytes) -> dict[str, meta_graph_pb2.SignatureDef]:
    try:
        from flatbuffers import flexbuffers
        from tensorflow.lite.python import schema_py_generated
    except ImportError:  # of a later TensorFlow; such files are old
        return {}
    model = schema_py_generated.Model.GetRootAs(content, 0)
    for number in range(model.MetadataLength()):
        metadata = model.Metadata(number)
        if metadata.Name() != METADATA:
            continue
        buffer = model.Buffers(metadata.Buffer()).DataAsNumpy().tobytes()
        stored = flexbuffers.GetRoot(buffer).AsMap
        return {
            key: meta_graph_pb2.SignatureDef.FromString(stored[key].AsStringBytes)
            for key in (entry.AsKey for entry in stored.Keys)
        }
    return {}
