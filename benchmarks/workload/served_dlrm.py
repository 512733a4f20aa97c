"""DLRM in every format that is served, rows, and requests made of them."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.peers.dlrm_tfdlrm import build
from benchmarks.runs.serving_load import save_requests
from benchmarks.workload.criteo_kaggle import make_batches, vocabulary_sizes
from tfdlrm.base.errors import InputError

NUM_ROWS = 4096
"""Different rows, each with a probability of its own."""


@dataclass(frozen=True)
class Workload:
    """Files that the measurements use.

    Args:
        models: By system; the server's is the directory of versions.
        rows: Rows, for `benchmarks.runs.serving_inprocess`.
        requests: By protocol and rows a request.
    """

    models: dict[str, Path]
    rows: Path
    requests: dict[tuple[str, int], Path]


def prepare(
    directory: Path,
    table_scale: float,
    batch_sizes: Sequence[int],
    protocols: Sequence[str],
    peers: Sequence[str],
) -> Workload:
    """Write an untrained model in every format, rows, and requests made of them.

    Args:
        directory: Where to.
        table_scale: Factor of the published vocabulary sizes.
        batch_sizes: Rows a request.
        protocols: grpc, rest or both.
        peers: In-process peers, some of which have formats of their own.
    """
    import tensorflow as tf

    sizes = vocabulary_sizes(table_scale)
    model = build(sizes)
    batches = make_batches(sizes, NUM_ROWS, seed=0, num_batches=1)
    dense, ids = batches.dense[0], batches.ids[0].astype(np.int64)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, dense.shape[1]], tf.float32, "dense_features"),
            tf.TensorSpec([None, ids.shape[1]], tf.int64, "categorical_features"),
        ]
    )
    def scores(dense_features: Any, categorical_features: Any) -> dict[str, Any]:
        features = {
            "dense_features": dense_features,
            "categorical_features": categorical_features,
        }
        return {"probability": tf.sigmoid(model(features, training=False))}

    expected = scores(dense, ids)["probability"].numpy().ravel()
    rows = directory / "rows.npz"
    np.savez(rows, dense_features=dense, categorical_features=ids, expected=expected)
    requests = {}
    for protocol in protocols:
        write = {"grpc": grpc_request, "rest": rest_request}[protocol]
        for size in batch_sizes:
            parts = [slice(i, i + size) for i in range(0, NUM_ROWS - size + 1, size)]
            path = directory / f"{protocol}_{size}.npz"
            bodies = [write(dense[part], ids[part]) for part in parts]
            save_requests(path, bodies, [expected[part] for part in parts])
            requests[protocol, size] = path
    models = _write_models(peers, model, scores, (dense, ids), directory)
    return Workload(models, rows, requests)


def _write_models(
    peers: Sequence[str],
    model: Any,
    scores: Any,
    rows: tuple[np.ndarray, np.ndarray],
    directory: Path,
) -> dict[str, Path]:
    import tensorflow as tf

    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    module.scores = scores
    versions = directory / "dlrm"
    version = versions / "1"
    signatures = {"serving_default": scores}
    tf.saved_model.save(module, str(version), signatures=signatures)
    models = {"server": versions, "session": version}
    if "onnxruntime" in peers:
        from tfdlrm.exporting.onnx import write_onnx

        dense, ids = rows
        features = {
            "dense_features": tf.constant(dense),
            "categorical_features": tf.constant(ids),
        }
        try:
            models["onnxruntime"] = write_onnx(model, scores, features, directory)
        except InputError as error:  # the table is complete without it
            print(f"onnxruntime is left out: {error}", file=sys.stderr)
    if "litert" in peers:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(version))
        models["litert"] = directory / "model.tflite"
        models["litert"].write_bytes(converter.convert())
    return models


def grpc_request(dense: np.ndarray, ids: np.ndarray) -> bytes:
    """Return a `PredictRequest` for these rows."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "dlrm"
    request.inputs["dense_features"].CopyFrom(tf.make_tensor_proto(dense))
    request.inputs["categorical_features"].CopyFrom(tf.make_tensor_proto(ids))
    return request.SerializeToString()


def rest_request(dense: np.ndarray, ids: np.ndarray) -> bytes:
    """Return a whole HTTP request for these rows."""
    instances = [
        {"dense_features": row, "categorical_features": row_ids}
        for row, row_ids in zip(dense, ids, strict=True)
    ]
    body = orjson.dumps({"instances": instances}, option=orjson.OPT_SERIALIZE_NUMPY)
    head = (
        "POST /v1/models/dlrm:predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
