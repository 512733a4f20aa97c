"""Weights of NVIDIA's TensorFlow 2 DLRM (NVIDIA/DeepLearningExamples), converted.

Its `--save_checkpoint_path` is a directory with the MLPs as a TensorFlow checkpoint in
`dense/` and each table as `sparse/feature_N.npy`. Reading them needs neither Horovod
nor NVIDIA's container.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdlrm.base import local_copies
from tfdlrm.base.errors import InputError
from tfdlrm.interop import facebook
from tfdlrm.models import DLRM

_LISTS = (
    "embedding_dim",
    "categorical_cardinalities",
    "bottom_mlp_dims",
    "top_mlp_dims",
)
_WEIGHT = "{mlp}/{layer}/{name}/.ATTRIBUTES/VARIABLE_VALUE"


def to_keras(checkpoint: str | Path) -> DLRM:
    """Return the DLRM with the weights of a checkpoint of NVIDIA's `DLRM_and_DCNv2`.

    Args:
        checkpoint: The directory of `--save_checkpoint_path`.

    Returns:
        A built DLRM; its inputs are in the order of NVIDIA's feature specification, and
        its logits are those of NVIDIA's model.

    Raises:
        InputError: If a file is missing or cannot be read, or the model crosses its
            features (DCNv2) or has tables of several widths.

    Example:

    >>> to_keras("nowhere")
    Traceback (most recent call last):
    tfdlrm.base.errors.InputError: nowhere/dense/config.json is missing: ...
    """
    directory = Path(checkpoint)
    config = _read_config(directory / "dense" / "config.json")
    prefix = directory / "dense" / "dense"
    dim = config["embedding_dim"][0]
    tables = [
        _read_table(directory / "sparse" / f"feature_{i}.npy", (size, dim))
        for i, size in enumerate(config["categorical_cardinalities"])
    ]
    num_vectors = len(tables) + 1
    bottom_units, top_units = config["bottom_mlp_dims"], config["top_mlp_dims"]
    num_inputs = dim + num_vectors * (num_vectors - 1) // 2
    state = {f"emb_l.{i}.weight": table for i, table in enumerate(tables)}
    with _checkpoint(prefix) as reader:
        for name, mlp, units, width in (
            (
                "bot_l",
                "bottom_mlp_layers",
                bottom_units,
                config["num_numerical_features"],
            ),
            ("top_l", "top_mlp", top_units, num_inputs),
        ):
            for i in range(len(units)):
                kernel = _weight(reader, mlp, i, "kernel", prefix)
                # NVIDIA's model pads inputs with zeros to a multiple of 8.
                state[f"{name}.{2 * i}.weight"] = kernel[: None if i else width].T
                state[f"{name}.{2 * i}.bias"] = _weight(reader, mlp, i, "bias", prefix)
    return facebook.to_keras(state)


@contextmanager
def _checkpoint(prefix: Path) -> Iterator[Any]:
    with local_copies.literal(prefix) as literal_prefix:
        try:
            reader = tf.train.load_checkpoint(str(literal_prefix))
        except (tf.errors.OpError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{prefix} cannot be read as a checkpoint: {reason}"
            ) from None
        yield reader


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(
            f"{path} is missing: expected the directory that --save_checkpoint_path of "
            "NVIDIA's DLRM_and_DCNv2 named"
        )
    try:
        settings = json.loads(path.read_text("utf-8"))
        config: dict[str, Any] = {
            name: [int(number) for number in settings[name]] for name in _LISTS
        }
        config["num_numerical_features"] = int(settings["num_numerical_features"])
        interaction, widths = str(settings["interaction"]), set(config["embedding_dim"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not the settings of a model: {error!r}") from None
    if not interaction.startswith("dot") or len(widths) != 1:
        raise InputError(
            f"{path} has interaction {interaction!r} and embedding_dim "
            f"{sorted(widths)}, expected a DLRM: dot products of one width"
        )
    return config


def _read_table(path: Path, shape: tuple[int, int]) -> np.ndarray:
    try:
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a table: {error}") from None
    if table.shape != shape:
        raise InputError(
            f"{path} has the shape {table.shape}, expected {shape} as the settings "
            "have it; a model trained with --concat_embedding cannot be converted"
        )
    return table


def _weight(reader: Any, mlp: str, layer: int, name: str, prefix: Path) -> np.ndarray:
    key = _WEIGHT.format(mlp=mlp, layer=layer, name=name)
    if not reader.has_tensor(key):
        raise InputError(f"{prefix} has no {name} of layer {layer} of {mlp}")
    return reader.get_tensor(key)
