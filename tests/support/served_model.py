"""Small SavedModels with every kind of signature, and their answers by NumPy."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

WEIGHTS = np.array([[0.5], [-0.25]], np.float32)


def expected(dense, ids, bias=0.0):
    """Return probabilities `(rows, 1)` of the model below, in float64."""
    logits = np.asarray(dense, float) @ WEIGHTS.astype(float)
    logits += np.asarray(ids, float).sum(1, keepdims=True) / 100 + bias
    return 1 / (1 + np.exp(-logits))


class Scores(tf.Module):
    """Two dense features and two ids; the bias distinguishes versions."""

    def __init__(self, bias):
        super().__init__()
        self.bias = tf.Variable(bias, dtype=tf.float32)

    def probability(self, dense, ids):
        finite = tf.debugging.assert_all_finite(dense, "dense_features is not finite")
        with tf.control_dependencies([finite]):
            ids = tf.reduce_sum(tf.cast(ids, tf.float32), 1, keepdims=True)
            return tf.sigmoid(dense @ WEIGHTS + ids / 100 + self.bias)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, "dense_features"),
            tf.TensorSpec([None, 2], tf.int64, "categorical_features"),
        ]
    )
    def serving_default(self, dense_features, categorical_features):
        return {"probability": self.probability(dense_features, categorical_features)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, x) for x in ("I1", "I2", "C1")
        ]
    )
    def raw(self, I1, I2, C1):  # noqa: N803
        numbers = [tf.where(x == "", "0", x) for x in (I1, I2)]
        dense = tf.stack([tf.strings.to_number(x) for x in numbers], 1)
        ids = tf.strings.length(C1)[:, tf.newaxis]
        return {"probability": self.probability(dense, ids)}

    def of_examples(self, examples):
        spec = {
            "dense_features": tf.io.FixedLenFeature([2], tf.float32),
            "categorical_features": tf.io.FixedLenFeature([2], tf.int64),
        }
        parsed = tf.io.parse_example(examples, spec)
        return self.probability(
            parsed["dense_features"], parsed["categorical_features"]
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def tf_example(self, examples):
        return {"probability": self.of_examples(examples)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify(self, inputs):
        click = self.of_examples(inputs)
        classes = tf.tile([["0", "1"]], [tf.shape(click)[0], 1])
        return {"classes": classes, "scores": tf.concat([1 - click, click], 1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def regress(self, inputs):
        return {"outputs": self.of_examples(inputs)}


class Kinds(tf.Module):
    """Types and shapes that a ranking model does not have."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float64, "doubles"),
            tf.TensorSpec([None], tf.bool, "flags"),
            tf.TensorSpec([None], tf.string, "texts"),
            tf.TensorSpec([None], tf.uint8, "bytes"),
        ]
    )
    def serving_default(self, doubles, flags, texts, bytes):
        return {
            "doubles": doubles * 2,
            "flags": ~flags,
            "texts": texts,
            "raw_bytes": texts,
            "bytes": bytes,
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def total(self, x):
        return {"total": tf.reduce_sum(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def logarithm(self, x):
        return {"y": tf.math.log(x)}


def example(dense, ids):
    """Return an Example of one row for `Scores`."""
    features = {
        "dense_features": tf.train.Feature(
            float_list=tf.train.FloatList(value=np.asarray(dense).tolist())
        ),
        "categorical_features": tf.train.Feature(
            int64_list=tf.train.Int64List(value=np.asarray(ids).tolist())
        ),
    }
    return tf.train.Example(features=tf.train.Features(feature=features))


def save_scores(path: Path, bias: float = 0.0) -> Path:
    """Write a version of `Scores`."""
    model = Scores(bias)
    names = ("serving_default", "raw", "tf_example", "classify", "regress")
    signatures = {name: getattr(model, name) for name in names}
    temporary = path.with_name(f"_{path.name}")
    tf.saved_model.save(model, str(temporary), signatures=signatures)
    set_methods(temporary, {"classify": "classify", "regress": "regress"})
    temporary.rename(path)
    return path


def save_kinds(path: Path) -> Path:
    """Write a version of `Kinds`."""
    model = Kinds()
    names = ("serving_default", "total", "logarithm")
    signatures = {name: getattr(model, name) for name in names}
    tf.saved_model.save(model, str(path), signatures=signatures)
    return path


def set_methods(path, methods):
    """Set the methods of signatures; TensorFlow 2 writes `predict` for all."""
    file = path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for signature, method in methods.items():
        definition = saved.meta_graphs[0].signature_def[signature]
        definition.method_name = f"tensorflow/serving/{method}"
    file.write_bytes(saved.SerializeToString())
    (path / "fingerprint.pb").unlink(missing_ok=True)
