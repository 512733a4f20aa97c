"""The graph of a model, for TensorBoard to draw."""

from pathlib import Path

import keras
import tensorflow as tf

from tfdlrm.base import directories
from tfdlrm.base.errors import InputError
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.signatures import serving_function


def check_graph_directory(directory: Path) -> None:
    """Refuse a path that is, or looks like, a picture or another file.

    Raises:
        InputError: If the path is that of a file.
    """
    if directory.suffix in (".png", ".svg", ".pdf", ".dot") or directory.is_file():
        raise InputError(
            f"plot is {directory}, expected a directory, such as model_graph: "
            "tensorboard --logdir model_graph then draws the graph"
        )


def write_graph(model: keras.Model, schema: FeatureSchema, directory: Path) -> None:
    """Write the graph from features to `probability` as an event of TensorBoard.

    TensorBoard groups operations by the layers that contain them, and shows the shapes
    of what flows between layers.

    Args:
        model: A built model.
        schema: The columns that it is built for.
        directory: The directory to write into; it need not exist.

    Raises:
        InputError: If the directory cannot be made.
    """
    directories.make_directory("plot", directory)
    function = serving_function(model, schema).get_concrete_function()  # type: ignore[attr-defined]
    writer = tf.summary.create_file_writer(str(directory))
    with writer.as_default():
        tf.summary.graph(function.graph)
    writer.close()
