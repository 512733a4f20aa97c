import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.processes import run_command_line
from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig
from tfdlrm.config.models import DCNV2Config
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.export import ExportCommand, export
from tfdlrm.exporting.onnx import write_onnx
from tfdlrm.exporting.scorer import load_scorer
from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.layers._devices import without_tf32
from tfdlrm.models import DLRM
from tfdlrm.train import train

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")


def session(path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def signature(values) -> dict[str, tuple]:
    return {value.name: (value.type, value.shape) for value in values}


def test_an_exported_file_scores_as_the_saved_model(config, tmp_path):
    graph = tmp_path / "graph"
    version = export(
        ExportCommand(config.run_dir, tmp_path / "onnx", "onnx", graph=graph)
    )
    assert version == tmp_path / "onnx" / "1"
    assert [path.name.split(".")[0] for path in graph.iterdir()] == ["events"]
    runtime = session(version / "model.onnx")
    assert signature(runtime.get_inputs()) == {
        "dense_features": ("tensor(float)", ["batch", 13]),
        "categorical_features": ("tensor(int64)", ["batch", 26]),
    }
    assert [value.name for value in runtime.get_outputs()] == ["probability"]
    schema = FeatureSchema.load(version / "assets.extra")
    (features, _), *_ = read_split(
        config.data_dir, FeatureSchema.load(config.data_dir), "test", 300
    )
    (probabilities,) = runtime.run(
        None,
        {
            "dense_features": features["dense_features"].numpy(),
            "categorical_features": features["categorical_features"]
            .numpy()
            .astype(int),
        },
    )
    expected = load_scorer(config.export_dir)(features)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5, atol=1e-6)
    assert len(schema.categorical_features) == 26


def test_files_for_the_two_servers_are_kept_apart(config):
    with pytest.raises(InputError, match=r"holds SavedModels.*another export_dir"):
        export(ExportCommand(config.run_dir, config.export_dir, "onnx"))


def test_what_is_missing_is_said_before_anything_is_read(monkeypatch, config):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"needs onnxruntime.*requirements-onnx\.txt"):
        export(ExportCommand(config.run_dir, format="onnx"))


def test_a_picture_instead_of_a_directory_is_refused_first(config, tmp_path):
    picture = tmp_path / "model.png"
    command = ExportCommand(config.run_dir, tmp_path / "onnx", graph=picture)
    with pytest.raises(InputError, match="plot is "):
        export(command)
    assert not list(tmp_path.iterdir())


def serving(model, num_dense, num_categorical):
    specs = [
        tf.TensorSpec([None, num_dense], tf.float32, "dense_features"),
        tf.TensorSpec([None, num_categorical], tf.int64, "categorical_features"),
    ]

    @tf.function(input_signature=specs)
    def function(dense_features, categorical_features):
        features = {
            "dense_features": dense_features,
            "categorical_features": categorical_features,
        }
        return {"probability": tf.sigmoid(model(features, training=False))}

    return function


def make(sizes, **options):
    model = DLRM(
        EmbeddingCollection(sizes, 4, **options),
        MLP([8, 4], final_activation="relu"),
        DotInteraction(),
        MLP([8, 1]),
    )
    shapes = {"dense_features": (None, 3), "categorical_features": (None, len(sizes))}
    model.build(shapes)
    return model


def rows_with(ids):
    dense = np.random.default_rng(0).normal(size=(len(ids), 3)).astype("float32")
    return {"dense_features": dense, "categorical_features": np.array(ids, np.int64)}


def test_large_tables_are_in_a_file_of_their_own(tmp_path):
    model = make([100_000, 7])
    rows = rows_with([[99_999, 6], [0, 0], [100_000, -1]])
    path = write_onnx(model, serving(model, 3, 2), rows, tmp_path)
    assert path.stat().st_size < 100_000
    data = tmp_path / "model.onnx.data"
    table = np.fromfile(data, np.float32).reshape(-1, 4)
    np.testing.assert_array_equal(table, model.embeddings.tables[0])
    onnx.checker.check_model(path)
    (probabilities,) = session(path).run(None, rows)
    expected = serving(model, 3, 2)(**rows)["probability"]
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)


def test_ids_beyond_the_precision_of_float32_stay_as_they_are(tmp_path):
    size = 2**24 + 3
    model = make([size], num_collisions=2**12)
    rows = rows_with([[size - 1], [size], [2**24 + 1], [2**24 + 2]])
    path = write_onnx(model, serving(model, 3, 1), rows, tmp_path)
    graph = onnx.load(path).graph
    casts = {
        attribute.i
        for node in graph.node
        if node.op_type == "Cast" and "categorical_features" in node.input
        for attribute in node.attribute
    }
    assert onnx.TensorProto.FLOAT not in casts


def as_tf32(values):
    """Round to the 10 bits of mantissa that TF32 has, to nearest."""
    bits = tf.bitcast(values, tf.uint32) + np.uint32(0x1000)
    return tf.bitcast(tf.bitwise.bitwise_and(bits, np.uint32(0xFFFFE000)), tf.float32)


@pytest.fixture
def ampere(monkeypatch):
    """Round products as GPUs from Ampere on do, where TF32 is allowed."""
    exact = tf.matmul
    is_allowed = tf.config.experimental.tensor_float_32_execution_enabled

    def product(a, b, **options):
        a, b = tf.convert_to_tensor(a), tf.convert_to_tensor(b)
        if is_allowed() and a.dtype == tf.float32:
            a, b = as_tf32(a), as_tf32(b)
        return exact(a, b, **options)

    monkeypatch.setattr(tf, "matmul", product)
    monkeypatch.setattr(tf.linalg, "matmul", product)
    was_allowed = is_allowed()
    tf.config.experimental.enable_tensor_float_32_execution(True)
    yield
    tf.config.experimental.enable_tensor_float_32_execution(was_allowed)


def test_a_gpu_that_rounds_products_does_not_spoil_the_comparison(ampere, tmp_path):
    model = make([100, 7])
    rows = rows_with([[99, 6], [0, 0], [50, 3]])
    rows["dense_features"] *= 100
    path = write_onnx(model, serving(model, 3, 2), rows, tmp_path)
    (probabilities,) = session(path).run(None, rows)
    rounded = serving(model, 3, 2)(**rows)["probability"]
    assert (
        np.abs(probabilities - rounded).max() > 1e-5
    )  # as it would have been compared
    with without_tf32():
        exact = serving(model, 3, 2)(**rows)["probability"]
    np.testing.assert_allclose(probabilities, exact, atol=1e-6)
    assert tf.config.experimental.tensor_float_32_execution_enabled()


class Shuffled(keras.Model):
    """A layer with other outputs each time, like an operation converted wrongly."""

    def call(self, inputs):
        noise = tf.random.uniform(tf.shape(inputs["dense_features"])[:1])
        return noise[:, None] + 0 * inputs["dense_features"][:, :1]


def test_a_file_that_computes_something_else_is_refused(tmp_path):
    rows = rows_with([[1]] * 8)
    with pytest.raises(InputError, match="its probability differs by up to"):
        write_onnx(Shuffled(), serving(Shuffled(), 3, 1), rows, tmp_path)


class CountedIds(keras.Model):
    """The number of ids in all bags of a row, without padding."""

    def call(self, inputs):
        is_id = inputs["categorical_features"] >= 0
        return tf.reduce_sum(tf.cast(is_id, tf.float32), axis=(1, 2))[:, None]


def test_bags_are_compared_with_padding(tmp_path):
    features = [
        tf.TensorSpec((None, 3), tf.float32, "dense_features"),
        tf.TensorSpec((None, 2, None), tf.int64, "categorical_features"),
    ]

    @tf.function(input_signature=features)
    def serve(dense_features, categorical_features):
        ids = {"categorical_features": categorical_features}
        return {"probability": CountedIds()(ids)}

    bags = tf.ragged.constant([[[1], [2, 3]], [[4], []]], tf.int64)
    rows = {"dense_features": tf.zeros((2, 3)), "categorical_features": bags}
    path = write_onnx(CountedIds(), serve, rows, tmp_path)
    padded = {
        "dense_features": np.zeros((2, 3), np.float32),
        "categorical_features": np.array([[[1, -1], [2, 3]], [[4, -1], [-1, -1]]]),
    }
    (counts,) = session(path).run(["probability"], padded)
    assert counts.ravel().tolist() == [3, 1]


class Checked(keras.Model):
    """A layer with an operation that ONNX does not have."""

    def call(self, inputs):
        ids = inputs["categorical_features"]
        strings = tf.strings.as_string(ids)
        hashed = tf.strings.to_hash_bucket_fast(strings, 10)
        return tf.cast(hashed, tf.float32)


def test_a_file_that_does_not_run_is_refused(tmp_path):
    rows = rows_with([[1]] * 8)
    with pytest.raises(InputError, match="ONNX Runtime does not run it"):
        write_onnx(Checked(), serving(Checked(), 3, 1), rows, tmp_path)


@pytest.mark.slow
def test_another_model_is_exported_too(config, tmp_path):
    run = tmp_path / "run"
    train(
        TrainConfig(
            data_dir=config.data_dir,
            model=DCNV2Config(embedding_dim=4, deep_units=(8,)),
            run_dir=run,
            export_dir=tmp_path / "model",
        )
    )
    version = export(ExportCommand(run, tmp_path / "onnx", "onnx"))
    assert sorted(path.name for path in version.iterdir()) == [
        "assets.extra",
        "model.onnx",
    ]


@pytest.mark.slow
def test_the_command_exports_as_onnx(config, tmp_path):
    result = run_command_line(
        f"python -m tfdlrm.export --run_dir {config.run_dir} --format onnx "
        "--graph graph",
        cwd=tmp_path,
    )
    assert (result.returncode, result.stderr) == (0, "")
    beside = config.export_dir.with_name(f"{config.export_dir.name}_onnx")
    assert (beside / "1" / "model.onnx").is_file()
    assert (tmp_path / "graph").is_dir()
