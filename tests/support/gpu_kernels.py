"""TensorFlow's kernels for GPUs, by its own registry, without any GPU."""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework import kernels, op_def_registry

CALLS = {
    "Case",
    "If",
    "NoOp",
    "PartitionedCall",
    "Placeholder",
    "StatefulPartitionedCall",
    "StatelessCase",
    "StatelessIf",
    "StatelessWhile",
    "While",
    "_Arg",
    "_Retval",
}
"""Operations that the runtime itself carries out, on any device."""


@cache
def _kernels_by_op():
    by_op = defaultdict(list)
    for kernel in kernels.get_all_registered_kernels().kernel:
        by_op[kernel.op].append(kernel)
    return by_op


def has_kernel(op, device="GPU", **dtypes):
    """Return whether an operation has a kernel for these types of its attributes."""
    numbers = {
        name: tf.dtypes.as_dtype(dtype).as_datatype_enum
        for name, dtype in dtypes.items()
    }
    return _has_kernel(op, device, numbers)


def _has_kernel(op, device, types):
    return any(
        kernel.device_type in (device, "DEFAULT")
        and not kernel.label
        and all(_allows(constraint, types) for constraint in kernel.constraint)
        for kernel in _kernels_by_op()[op]
    )


def _allows(constraint, types):
    allowed = set(constraint.allowed_values.list.type)
    used = types.get(constraint.name, [])
    return not allowed or allowed.issuperset([used] if isinstance(used, int) else used)


def _types_of(node: NodeDef):
    types = {}
    for name, value in node.attr.items():
        if value.WhichOneof("value") == "type":
            types[name] = value.type
        elif value.list.type:
            types[name] = list(value.list.type)
    for attribute in op_def_registry.get(node.op).attr:
        default = attribute.default_value
        if attribute.name not in types and default.WhichOneof("value") == "type":
            types[attribute.name] = default.type
    return types


def without_gpu_kernel(graph: GraphDef) -> set[str]:
    """Return the operations of a graph, and of its functions, that no GPU can run."""
    missing = set()
    for node in _nodes_of(graph):
        if node.op in CALLS or op_def_registry.get(node.op) is None:
            continue
        types = _types_of(node)
        if not _has_kernel(node.op, "GPU", types):
            names = {
                name: tf.dtypes.as_dtype(value).name
                for name, value in types.items()
                if isinstance(value, int) and value
            }
            missing.add(f"{node.op} {names}")
    return missing


def _nodes_of(graph: GraphDef) -> Iterator[NodeDef]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def
