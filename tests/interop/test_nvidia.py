"""NVIDIA's checkpoints, written as its code does, without its container."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
import yaml

from tests.docs.test_pages import blocks
from tfdlrm.base.errors import InputError
from tfdlrm.interop.nvidia import to_keras

SIZES, DIM, NUM_DENSE = [30, 7, 50, 11], 4, 13


class DenseModel(tf_keras.Model):
    """The MLPs under NVIDIA's names; inputs are padded to multiples of 8."""

    def __init__(self):
        super().__init__()
        layer = tf_keras.layers.Dense
        self.bottom_mlp_layers = [layer(16, "relu"), layer(DIM, "relu")]
        self.top_mlp = [layer(12, "relu"), layer(1)]

    def call(self, inputs):
        dense, pairs = inputs
        for layer in self.bottom_mlp_layers:
            dense = layer(dense)
        outputs = tf.concat([dense, pairs], 1)
        for layer in self.top_mlp:
            outputs = layer(outputs)
        return outputs


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    directory = tmp_path_factory.mktemp("nvidia")
    rng = np.random.default_rng(0)
    model = DenseModel()
    # 13 dense features are 16 there; the bottom vector and 10 pairs, 14, are 16 too.
    model((tf.zeros((1, 16)), tf.zeros((1, 16 - DIM))))
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape))
    model.save_weights(str(directory / "dense" / "dense"))
    (directory / "sparse").mkdir()
    for i, size in enumerate(SIZES):
        table = rng.normal(size=(size, DIM)).astype("float32")
        np.save(directory / "sparse" / f"feature_{i}.npy", table)
    write_config(directory)
    return directory


def write_config(directory, **changes):
    config = {
        "embedding_dim": [DIM] * len(SIZES),
        "interaction": "dot_custom_cuda",
        "bottom_mlp_dims": [16, DIM],
        "top_mlp_dims": [12, 1],
        "num_numerical_features": NUM_DENSE,
        "categorical_cardinalities": SIZES,
    }
    text = json.dumps({**config, **changes})
    (directory / "dense" / "config.json").write_text(text)


def relu(x):
    return np.maximum(x, 0)


def logits_of(directory, dense, ids):
    """Return the logits of their forward pass in float64."""
    reader = tf.train.load_checkpoint(str(directory / "dense" / "dense"))

    def layer(x, mlp, i):
        kernel, bias = (
            reader.get_tensor(f"{mlp}/{i}/{name}/.ATTRIBUTES/VARIABLE_VALUE")
            for name in ("kernel", "bias")
        )
        padded = np.pad(x, [(0, 0), (0, len(kernel) - x.shape[1])])
        return padded @ kernel.astype(np.float64) + bias

    bottom = relu(
        layer(relu(layer(dense, "bottom_mlp_layers", 0)), "bottom_mlp_layers", 1)
    )
    tables = [np.load(directory / "sparse" / f"feature_{i}.npy") for i in range(4)]
    vectors = np.stack([bottom, *(t[ids[:, i]] for i, t in enumerate(tables))], axis=1)
    pairs = [(vectors[:, i] * vectors[:, j]).sum(1) for i in range(5) for j in range(i)]
    inputs = np.concatenate([bottom, np.stack(pairs, axis=1)], axis=1)
    return layer(relu(layer(inputs, "top_mlp", 0)), "top_mlp", 1)


def test_a_converted_model_gives_nvidias_logits(checkpoint):
    rng = np.random.default_rng(1)
    dense = rng.normal(size=(20, NUM_DENSE))
    ids = rng.integers(0, SIZES, (20, len(SIZES)))
    model = to_keras(checkpoint)
    logits = model(
        {"dense_features": dense.astype("float32"), "categorical_features": ids}
    )
    np.testing.assert_allclose(logits, logits_of(checkpoint, dense, ids), 1e-4, 1e-4)


def write_data(directory, dense, ids):
    """Write their split binary files and the specification of these."""
    directory.mkdir()
    dense_names = [f"num_{i}" for i in range(NUM_DENSE)]
    ids_names = [f"cat_{i}.bin" for i in range(len(SIZES))]
    files = {"numerical.bin": dense_names, "label.bin": ["label"]}
    files |= {name: [name] for name in ids_names}
    dense.astype("float16").tofile(directory / "numerical.bin")
    np.zeros(len(dense), "bool").tofile(directory / "label.bin")
    for name, column in zip(ids_names, ids.T, strict=True):
        column.astype("int8").tofile(directory / name)
    dtypes = dict.fromkeys(dense_names, "float16") | {"label": "bool"}
    dtypes |= dict.fromkeys(ids_names, "int8")
    spec = {
        "feature_spec": {name: {"dtype": dtype} for name, dtype in dtypes.items()},
        "source_spec": {
            "test": [
                {"type": "split_binary", "features": features, "files": [name]}
                for name, features in files.items()
            ]
        },
        "channel_spec": {
            "numerical": dense_names,
            "categorical": ids_names,
            "label": ["label"],
        },
    }
    (directory / "feature_spec.yaml").write_text(yaml.safe_dump(spec))


def test_the_python_of_the_page_scores_nvidias_data(checkpoint, tmp_path, monkeypatch):
    rng = np.random.default_rng(2)
    dense = rng.normal(size=(20, NUM_DENSE)).astype("float16").astype("float64")
    ids = rng.integers(0, SIZES, (20, len(SIZES)))
    write_data(tmp_path / "nvidia", dense, ids)
    (tmp_path / "checkpoint").symlink_to(checkpoint)
    monkeypatch.chdir(tmp_path)
    arrays = {}
    for block in blocks("docs/from_nvidia.md", "python"):
        exec(compile(block, "docs/from_nvidia.md", "exec"), arrays)
    expected = 1 / (1 + np.exp(-logits_of(checkpoint, dense, ids)))
    np.testing.assert_allclose(arrays["probabilities"], expected, 1e-4, 1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interaction": "cross"}, "interaction 'cross'"),
        ({"embedding_dim": [4, 8, 4, 4]}, r"embedding_dim \[4, 8\]"),
        ({"top_mlp_dims": [12, 6, 1]}, "no kernel of layer 2 of top_mlp"),
        (
            {"categorical_cardinalities": [*SIZES, 9]},
            r"feature_4\.npy cannot be read",
        ),
        # As --concat_embedding leaves it, all tables in the first file.
        (
            {"categorical_cardinalities": [10, 20, 7, 50, 11]},
            r"feature_0\.npy has the shape \(30, 4\), expected \(10, 4\).*--concat",
        ),
    ],
)
def test_another_model_is_refused(checkpoint, tmp_path, changes, message):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    write_config(copy, **changes)
    with pytest.raises(InputError, match=message):
        to_keras(copy)


def test_a_checkpoint_without_its_mlps_is_refused(checkpoint, tmp_path):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    (copy / "dense" / "dense.index").unlink()
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        to_keras(copy)


@pytest.mark.parametrize(
    "changes",
    [
        {"bottom_mlp_dims": 16},
        {"top_mlp_dims": ["wide"]},
        {"categorical_cardinalities": None},
        {"num_numerical_features": [13]},
    ],
)
def test_settings_of_other_types_are_refused(checkpoint, tmp_path, changes):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    write_config(copy, **changes)
    with pytest.raises(InputError, match=r"config\.json is not the settings"):
        to_keras(copy)


@pytest.mark.parametrize(
    "text", ["[]", '{"interaction": "dot_tensorflow", "embedding_dim": [4]}']
)
def test_settings_that_are_none_are_refused(checkpoint, tmp_path, text):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    (copy / "dense" / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json is not the settings"):
        to_keras(copy)
