"""The graph that TensorBoard draws has a model's layers, and shapes between them."""

import pytest
import tensorflow as tf

from tfdlrm.base.errors import InputError
from tfdlrm.config.models import DLRMConfig
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.exporting.model_graph import check_graph_directory, write_graph
from tfdlrm.models import build_model

SCHEMA = FeatureSchema(
    ("age", "price"), (CategoricalFeature("city", 5), CategoricalFeature("shop", 7))
)


def read_graph(directory) -> tf.compat.v1.GraphDef:
    (path,) = directory.glob("events.*")
    events = map(
        tf.compat.v1.Event.FromString,
        tf.data.TFRecordDataset(str(path)).as_numpy_iterator(),
    )
    (graph,) = [event.graph_def for event in events if event.graph_def]
    return tf.compat.v1.GraphDef.FromString(graph)


def test_the_graph_has_the_layers_and_their_shapes(tmp_path):
    config = DLRMConfig(embedding_dim=4, bottom_mlp_units=(8,), top_mlp_units=(6,))
    write_graph(build_model(SCHEMA, config), SCHEMA, tmp_path / "graph")
    nodes = read_graph(tmp_path / "graph").node
    layers = {
        name.split("/")[1] for name in (node.name for node in nodes) if "/" in name
    }
    for part in ("embeddings", "bottom_mlp", "interaction", "top_mlp"):
        assert any(layer.startswith(part) for layer in layers), layers
    widths = {
        node.attr["_output_shapes"].list.shape[0].dim[-1].size
        for node in nodes
        if node.op == "Relu"
    }
    assert widths == {8, 4, 6}
    inputs = {node.name for node in nodes if node.op == "Placeholder"}
    assert {"dense_features", "categorical_features"} <= inputs


@pytest.mark.parametrize("name", ["model.png", "model.svg", "file"])
def test_a_file_is_refused(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"expected a directory.*tensorboard --logdir"):
        check_graph_directory(tmp_path / name)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    model = build_model(SCHEMA, DLRMConfig(embedding_dim=4, bottom_mlp_units=(8,)))
    with pytest.raises(InputError, match=r"plot .*graph cannot be made"):
        write_graph(model, SCHEMA, tmp_path / "file" / "graph")
