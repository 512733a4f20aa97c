"""Read the signatures of a SavedModel's graph."""

from collections.abc import Mapping
from pathlib import Path

from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from tfdlrm.data.unknown_values import usual_shares
from tfdlrm.exporting.manifest import EXTRA_DIRECTORY
from tfdlrm.exporting.raw_columns import COUNTS
from tfdlrm.exporting.unknown_counts import COLUMNS_COLLECTION, COUNTS_COLLECTION
from tfdlrm.serving.data_types import by_number
from tfdlrm.serving.raw_column import RawColumn
from tfdlrm.serving.tensor_specs import TensorSpec
from tfdlrm.serving.unknown_monitor import UnknownMonitor


def _collection(
    meta_graph: meta_graph_pb2.MetaGraphDef, name: str
) -> meta_graph_pb2.CollectionDef:
    return meta_graph.collection_def.get(name, meta_graph_pb2.CollectionDef())


def count_specs(
    meta_graph: meta_graph_pb2.MetaGraphDef, name: str
) -> dict[str, TensorSpec]:
    """Return the tensors that count unknown values for a signature, if any."""
    tensors = _collection(meta_graph, f"{COUNTS_COLLECTION}{name}").node_list.value
    int32 = by_number(types_pb2.DT_INT32)
    assert int32 is not None
    return {
        count: TensorSpec(tensor, int32, (-1, -1))
        for count, tensor in zip(COUNTS, tensors, strict=False)
    }


def unknown_monitor(
    path: Path, meta_graph: meta_graph_pb2.MetaGraphDef
) -> UnknownMonitor:
    """Return the monitor of a version's unknown values."""
    names = _collection(meta_graph, COLUMNS_COLLECTION).bytes_list.value
    columns = [name.decode() for name in names]
    return UnknownMonitor(path, columns, usual_shares(path / EXTRA_DIRECTORY))


def is_servable(definition: meta_graph_pb2.SignatureDef) -> bool:
    """Return whether a signature has inputs and outputs that requests can hold."""
    infos = [*definition.inputs.values(), *definition.outputs.values()]
    return bool(definition.inputs and definition.outputs) and all(
        # Sparse and composite tensors have no name of their own.
        info.name and by_number(info.dtype) is not None
        for info in infos
    )


def tensor_specs(
    infos: Mapping[str, meta_graph_pb2.TensorInfo],
    columns: Mapping[str, RawColumn] | None = None,
) -> dict[str, TensorSpec]:
    """Return the inputs or outputs of a signature, in alphabetical order.

    Args:
        infos: Descriptions of the tensors, by name.
        columns: The raw columns of the model, where these are inputs that take them.
    """
    columns = columns or {}
    specs = {}
    for name, info in sorted(infos.items()):
        dtype = by_number(info.dtype)
        assert dtype is not None  # of a signature that can be served
        shape = tuple(dim.size for dim in info.tensor_shape.dim)
        is_unknown = info.tensor_shape.unknown_rank
        column = columns.get(name) if dtype.is_text else None
        specs[name] = TensorSpec(
            info.name, dtype, None if is_unknown else shape, column
        )
    return specs
