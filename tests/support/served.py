"""Call a SavedModel as TF Serving does: in a session, by the names in its proto."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import prediction_log_pb2


class Served:
    """A loaded version of a model.

    Args:
        path: The version's directory.
    """

    def __init__(self, path: Path) -> None:
        graph = tf.Graph()
        with graph.as_default():
            self._session = tf.compat.v1.Session(graph=graph)
            loader = tf.compat.v1.saved_model.loader
            loaded = loader.load(self._session, ["serve"], str(path))
        self.signatures = loaded.signature_def
        self._callables: dict[tuple[str, ...], Any] = {}

    def __call__(self, signature: str, /, **inputs: Any) -> dict[str, np.ndarray]:
        """Return the outputs of a signature."""
        definition = self.signatures[signature]
        assert set(inputs) == set(definition.inputs)
        feeds = [
            np.asarray(
                value, tf.dtypes.as_dtype(definition.inputs[name].dtype).as_numpy_dtype
            )
            for name, value in inputs.items()
        ]
        outputs = self._callable(signature, *inputs)(*feeds)
        return dict(zip(definition.outputs, outputs, strict=True))

    def _callable(self, signature: str, *names: str) -> Any:
        """Return a callable, as servers use; `Session.run` would check shapes."""
        key = signature, *names
        if key not in self._callables:
            definition = self.signatures[signature]
            options = config_pb2.CallableOptions(
                feed=[definition.inputs[name].name for name in names],
                fetch=[output.name for output in definition.outputs.values()],
            )
            call = self._session._make_callable_from_options(options)
            self._callables[key] = call
        return self._callables[key]

    def probabilities(self, signature: str, /, **inputs: Any) -> np.ndarray:
        """Return the only output of a signature, flat."""
        (values,) = self(signature, **inputs).values()
        assert values.shape[1:] == (1,)
        return values.ravel()


def example(row: dict[str, Any]) -> bytes:
    """Return a serialized Example of text, integers, floats, or lists of these."""
    features = {}
    for name, value in row.items():
        values = value if isinstance(value, list) else [value]
        if isinstance(values[0], float):
            field = {"float_list": tf.train.FloatList(value=values)}
        elif isinstance(values[0], int):
            field = {"int64_list": tf.train.Int64List(value=values)}
        else:
            texts = [text.encode() for text in values]
            field = {"bytes_list": tf.train.BytesList(value=texts)}
        features[name] = tf.train.Feature(**field)
    return tf.train.Example(
        features=tf.train.Features(feature=features)
    ).SerializeToString()


def warm_up_logs(version):
    """Return the warm-up requests of a version."""
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    return [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]


def replay(served, log):
    """Return a signature's answer to a request."""
    log_type = log.WhichOneof("log_type")
    request = getattr(log, log_type).request
    if log_type == "predict_log":
        inputs = {name: tf.make_ndarray(t) for name, t in request.inputs.items()}
    else:
        examples = request.input.example_list.examples
        inputs = {"inputs": [example.SerializeToString() for example in examples]}
    return request.model_spec, served(request.model_spec.signature_name, **inputs)
