"""A model behind a server, over gRPC."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from tfdlrm.exporting.raw_columns import (
    COUNTS,
    COVERAGE_SIGNATURE,
    RAW_SIGNATURE,
    UNKNOWN_SIGNATURE,
)
from tfdlrm.serving.remote import (
    Inputs,
    PassingError,
    RemoteModel,
    one_line,
    refusal,
    tls_context,
)

PASSING_STATUSES = {
    grpc.StatusCode.CANCELLED,  # by a server that stops
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}


class GrpcModel(RemoteModel):
    """A model over gRPC.

    Args:
        server: Host and port, such as `localhost:8500`.
        name: Name of the model.
        timeout: Seconds for a request.
        tls: PEM files: authority, client's certificate and key. TLS needs the first,
            mutual TLS all three.
    """

    def __init__(
        self, server: str, name: str, timeout: float, tls: Sequence[Path]
    ) -> None:
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        options = [
            ("grpc.max_receive_message_length", -1),
            # Otherwise it waits ever longer for a server that comes back.
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if tls:
            tls_context(tls)  # gRPC does not name files that it cannot use
            authority, *client_files = [path.read_bytes() for path in tls]
            certificate, key = client_files or (None, None)
            credentials = grpc.ssl_channel_credentials(authority, key, certificate)
            channel = grpc.secure_channel(server, credentials, options)
        else:
            channel = grpc.insecure_channel(server, options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._name, self._timeout = name, timeout

    def columns(self) -> list[str]:
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(
            metadata_field=["signature_def"]
        )
        request.model_spec.name = self._name
        answer = self._call(self._stub.GetModelMetadata, request)
        definitions = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(definitions)
        signatures = definitions.signature_def
        if UNKNOWN_SIGNATURE in signatures and COVERAGE_SIGNATURE in signatures:
            shape = signatures[UNKNOWN_SIGNATURE].outputs[COUNTS[0]].tensor_shape
            self._num_counted = shape.dim[1].size
        return list(signatures[RAW_SIGNATURE].inputs)

    def _predict(self, signature: str, inputs: Inputs) -> dict[str, np.ndarray]:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._name
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(_tensor(values))
        answer = self._call(self._stub.Predict, request)
        return {name: tf.make_ndarray(proto) for name, proto in answer.outputs.items()}

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            if error.code() in PASSING_STATUSES:
                raise PassingError(one_line(error.details())) from None
            raise refusal(one_line(error.details())) from None


def _tensor(
    values: Sequence[bytes] | Sequence[Sequence[bytes]] | Sequence[int],
) -> Any:
    from tensorflow.core.framework import tensor_pb2, types_pb2

    shape = [len(values)]
    flat: Sequence[Any] = values
    if values and isinstance(values[0], list):
        shape.append(len(values[0]))
        flat = list(chain.from_iterable(flat))
    if values and isinstance(values[0], int):
        proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_INT64, int64_val=flat)
    else:
        proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=flat)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto
