"""One version of a model in memory, with its signatures."""

import gc
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from tfdlrm.base import local_copies
from tfdlrm.base.device_names import cpu
from tfdlrm.base.errors import InputError
from tfdlrm.base.machine_gpus import describe_gpus
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.manifest import EXTRA_DIRECTORY, check_version, unchecked
from tfdlrm.exporting.other_columns import columns_of
from tfdlrm.exporting.raw_columns import RAW_SIGNATURE, UNKNOWN_SIGNATURE
from tfdlrm.serving.described_columns import described_columns
from tfdlrm.serving.errors import ServingError, from_tensorflow, refuse
from tfdlrm.serving.loading import Loading, complete
from tfdlrm.serving.meta_graphs import (
    count_specs,
    is_servable,
    tensor_specs,
    unknown_monitor,
)
from tfdlrm.serving.raw_column import RawColumn
from tfdlrm.serving.tensor_specs import TensorSpec

log = logging.getLogger("tfdlrm.serving")

DEFAULT_SIGNATURE = "serving_default"
INIT_SIGNATURE = "__saved_model_init_op"

Arrays = list[np.ndarray]
"""The tensors of a run, in the order of their names in the signature."""


@dataclass(eq=False)
class Signature:
    """A function of a model.

    Args:
        name: Name in the SavedModel.
        method: Purpose, such as `tensorflow/serving/predict`.
        inputs: Inputs by name, in alphabetical order.
        outputs: Outputs by name, in alphabetical order.
        servable: Version that it belongs to.
        run: Callable of the session, from arrays to arrays.
        counts: Outputs for the server alone: see `unknown_counts`.
    """

    name: str
    method: str
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    servable: "Servable"
    run: Any = field(repr=False)
    counts: dict[str, TensorSpec] = field(default_factory=dict)

    @property
    def fetched(self) -> list[str]:
        """Names of the arrays that `run` returns, in order."""
        return [*self.outputs, *self.counts]

    def __post_init__(self) -> None:
        specs = [*self.inputs.values(), *self.outputs.values()]
        self.is_batched = all(spec.is_batched for spec in specs)

    def other_shapes(self, inputs: Mapping[str, np.ndarray]) -> list[str]:
        """Return the names of the inputs whose shapes the signature does not declare.

        The graph may take them all the same, but rows are no rows then: such a request
        runs alone.
        """
        return [
            name
            for name, spec in self.inputs.items()
            if not spec.accepts(inputs[name].shape)
        ]

    def check(self, inputs: Mapping[str, np.ndarray], max_rows: int) -> int:
        """Check the arrays of a request, whose shapes are those that are declared.

        Args:
            inputs: All inputs by name, of the right types.
            max_rows: More rows are refused.

        Returns:
            The number of rows; 1 where the signature takes no batches.

        Raises:
            ServingError: If there are too many rows, or the inputs differ in them.
        """
        for name, spec in self.inputs.items():
            spec.check(name, inputs[name].shape, max_rows)
        if not self.is_batched:
            return 1
        rows = {name: inputs[name].shape[0] for name in self.inputs}
        if len(set(rows.values())) > 1:
            refuse(f"the inputs differ in their number of rows: {rows}")
        return next(iter(rows.values()))

    def check_sizes(self, inputs: Mapping[str, np.ndarray], max_rows: int) -> int:
        """Check the sizes of a request's arrays of any shapes.

        Returns:
            The largest first size.

        Raises:
            ServingError: If an array is too large.
        """
        for name, spec in self.inputs.items():
            spec.check(name, inputs[name].shape, max_rows)
        return max(array.shape[0] if array.ndim else 1 for array in inputs.values())


class Servable:
    """A loaded version, which is unloaded when it is retired and no longer used.

    Args:
        name: Name of the model.
        version: Number of the version.
        path: Directory of the SavedModel.
        loading: How it is loaded; the usual way where `None`.

    Raises:
        ServingError: If one of its files is damaged, the memory is too small, or
            TensorFlow does not load it.
    """

    def __init__(
        self, name: str, version: int, path: Path, loading: Loading | None = None
    ) -> None:
        self.name, self.version, self.path = name, version, path
        self._loading = loading or Loading()
        self._lock = threading.Lock()
        self._users = 0
        self.load_seconds = 0.0
        self._is_retired = False
        is_checked = _is_checked(path)
        self._num_bytes = self._loading.memory.reserve(path)
        # Kept, since a version may be removed from the disk while it is served.
        self.schema = _schema(path)
        self._session: Any = None
        self.meta_graph = meta_graph_pb2.MetaGraphDef()
        self.signatures: dict[str, Signature] = {}
        self.columns: dict[str, RawColumn] = {}
        try:
            self._open()
            self.monitor = unknown_monitor(path, self.meta_graph)
        except ServingError:
            self._close()
            raise
        # A damaged file may raise anything.
        except Exception as error:
            self._close()
            raise from_tensorflow(error) from error
        if not self.signatures:
            self._close()
            raise ServingError(
                grpc.StatusCode.FAILED_PRECONDITION, f"{path} has no signature to serve"
            )
        if not is_checked:
            log.warning("%s", unchecked(path))

    def _open(self) -> None:
        """Load the graph and the signatures."""
        graph = tf.Graph()
        session = complete(self._loading.session)
        self._session = tf.compat.v1.Session(graph=graph, config=session)
        with graph.as_default(), local_copies.literal(self.path) as literal:
            self.meta_graph = tf.compat.v1.saved_model.loader.load(
                self._session, list(self._loading.tags), str(literal)
            )
        self.columns = described_columns(self.path / EXTRA_DIRECTORY)
        self.signatures = {
            name: self._signature(name, definition)
            for name, definition in self.meta_graph.signature_def.items()
            if name != INIT_SIGNATURE and is_servable(definition)
        }

    def _close(self) -> None:
        """Free the memory."""
        # Signatures, callables, session and graph refer to each other in circles.
        self.signatures = {}
        if self._session is not None:
            self._session.close()
            self._session = None
        self._loading.memory.release(self._num_bytes)
        self._num_bytes = 0

    @property
    def device(self) -> str:
        """Devices that it computes on, in words."""
        devices = self._session.list_devices()
        gpus = [device.name for device in devices if device.device_type == "GPU"]
        names = [name.rpartition("/device:")[2] for name in gpus]
        return describe_gpus(names) if names else cpu()

    def _signature(
        self, name: str, definition: meta_graph_pb2.SignatureDef
    ) -> Signature:
        takes_raw_rows = name in (RAW_SIGNATURE, UNKNOWN_SIGNATURE)
        inputs, outputs = (
            tensor_specs(definition.inputs, self.columns if takes_raw_rows else None),
            tensor_specs(definition.outputs),
        )
        counts = count_specs(self.meta_graph, name)
        options = config_pb2.CallableOptions(
            feed=[spec.tensor for spec in inputs.values()],
            fetch=[spec.tensor for spec in [*outputs.values(), *counts.values()]],
        )
        if self._loading.runs_in_caller:
            options.run_options.inter_op_thread_pool = -1
        # Keras builds its own graph functions from this; Session.run looks up every
        # feed and fetch again, which takes longer than running a small model.
        run = self._session._make_callable_from_options(options)
        method = definition.method_name
        return Signature(name, method, inputs, outputs, self, run, counts)

    def signature(self, name: str) -> Signature:
        """Return the signature of a name; the default one for an empty name.

        Raises:
            ServingError: If no signature has it.
        """
        signature = self.signatures.get(name or DEFAULT_SIGNATURE)
        if signature is None:
            raise ServingError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{name or DEFAULT_SIGNATURE}" not found; '
                f"there are: {', '.join(sorted(self.signatures))}",
            )
        return signature

    def acquire(self) -> None:
        """Keep the version loaded until `release`."""
        with self._lock:
            self._users += 1

    def release(self) -> None:
        """Undo `acquire`."""
        with self._lock:
            self._users -= 1
            is_over = self._is_retired and self._users == 0
        if is_over:
            self._start_unloading()

    def retire(self) -> None:
        """Unload the version as soon as it is not in use."""
        with self._lock:
            self._is_retired = True
            is_over = self._users == 0
        if is_over:
            self._start_unloading()

    def _start_unloading(self) -> None:
        # Unloading large tables takes time, which no request should wait for.
        threading.Thread(target=self._unload, name=f"unload {self.path}").start()

    def _unload(self) -> None:
        with self._loading.unloading:
            self._close()
            gc.collect()


def _is_checked(path: Path) -> bool:
    """Check a version against its manifest, and return whether it has one."""
    try:
        return check_version(path)
    except InputError as error:
        raise ServingError(grpc.StatusCode.DATA_LOSS, str(error)) from None


def _schema(path: Path) -> FeatureSchema | None:
    try:
        return columns_of(path)
    except (InputError, OSError) as error:
        log.warning("%s: its columns are not compared: %s", path, error)
        return None
