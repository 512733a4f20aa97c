"""Weights of the PyTorch reference (facebookresearch/dlrm), in and out, bit for bit."""

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfdlrm.base.errors import InputError
from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.models import DLRM

_NAME = re.compile(r"emb_l\.\d+\.weight|(bot|top)_l\.\d*[02468]\.(weight|bias)")

_WRAPPERS = {"module", "_orig_mod"}
"""Names under which DataParallel and torch.compile hold the wrapped module."""


def to_keras(
    state: Mapping[str, Any] | str | Path, self_interaction: bool = False
) -> DLRM:
    """Return the DLRM with the weights of a model of `dlrm_s_pytorch.py`.

    Its logits are the reference's before the last sigmoid.

    Args:
        state: The reference's names (`emb_l.0.weight`, `bot_l.0.weight`,
            `bot_l.0.bias`, `top_l.0.weight`…) with their arrays or tensors; or the path
            of a `.pt` file that holds them, as `--save-model` writes it. The names may
            be under `state_dict`, and contain the `module.` of DataParallel or the
            `_orig_mod.` of torch.compile. Reading a file needs PyTorch, and runs no
            code that may be hidden in the file.
        self_interaction: Whether the model was trained with
            `--arch-interaction-itself`.

    Returns:
        A built DLRM; its inputs are in the order of the reference's columns.

    Raises:
        InputError: If the file cannot be read, or names, types or shapes are not those
            of such a model.

    Example:

    >>> ones = lambda *shape: np.ones(shape, "float32")
    >>> state = {
    ...     "emb_l.0.weight": ones(100, 8),
    ...     "bot_l.0.weight": ones(8, 13), "bot_l.0.bias": ones(8),
    ...     "top_l.0.weight": ones(1, 9), "top_l.0.bias": ones(1),
    ... }
    >>> to_keras(state).count_params()
    922
    """
    source = "the state"
    if isinstance(state, str | Path):
        source, state = str(state), _read(Path(state))
    arrays = _to_arrays(_remove_wrappers(_find_state(state, source)), source)
    tables = _tables(arrays, source)
    bottom = _dense_layers(arrays, "bot_l", source)
    top = _dense_layers(arrays, "top_l", source)
    _check_widths(tables, bottom, top, self_interaction, source)
    sizes, dim = [len(table) for table in tables], tables[0].shape[1]
    model = DLRM(
        embeddings=EmbeddingCollection(sizes, dim, name="embeddings"),
        bottom_mlp=MLP(_units(bottom), final_activation="relu", name="bottom_mlp"),
        interaction=DotInteraction(self_interaction, name="interaction"),
        top_mlp=MLP(_units(top), name="top_mlp"),
        name="dlrm",
    )
    num_dense = bottom[0][0].shape[1]
    model.build(
        {
            "dense_features": (None, num_dense),
            "categorical_features": (None, len(sizes)),
        }
    )
    model.embeddings.tables[0].assign(np.concatenate(tables))
    for mlp, layers in ((model.bottom_mlp, bottom), (model.top_mlp, top)):
        for layer, (weight, bias) in zip(mlp.dense_layers, layers, strict=True):
            layer.kernel.assign(weight.T)
            layer.bias.assign(bias)
    return model


def from_keras(model: DLRM) -> dict[str, np.ndarray]:
    """Return the weights of a DLRM by the reference's names; `to_keras` reads them.

    Args:
        model: A built DLRM as the reference has it: dot products as interaction, ReLU
            everywhere except after the last layer, no normalization, one table of the
            common width for each feature.

    Raises:
        InputError: If the reference has no such model.
    """
    _require_reference_model(model)
    sizes = model.embeddings.vocabulary_sizes
    (table,) = model.embeddings.tables
    parts = np.split(np.asarray(table), np.cumsum(sizes)[:-1])
    state = {f"emb_l.{i}.weight": part for i, part in enumerate(parts)}
    for name, mlp in (("bot_l", model.bottom_mlp), ("top_l", model.top_mlp)):
        for i, layer in enumerate(mlp.dense_layers):
            # Every second entry of the reference's list is an activation.
            kernel = np.asarray(layer.kernel)
            state[f"{name}.{2 * i}.weight"] = np.ascontiguousarray(kernel.T)
            state[f"{name}.{2 * i}.bias"] = np.asarray(layer.bias)
    return state


def _read(path: Path) -> Any:
    try:
        import torch
    except ImportError:
        raise InputError(
            f"{path} needs PyTorch to be read, which is not installed: install it "
            "(pip install torch), or give the names with their arrays"
        ) from None
    # Losses and accuracies next to the weights are NumPy's numbers: data, not code.
    scalar = np.float64(0).__reduce__()[0]
    numbers: list[Any] = [
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *(type(np.dtype(name)) for name in ("float32", "float64", "int32", "int64")),
    ]
    try:
        with torch.serialization.safe_globals(numbers):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path} holds more than weights and numbers, or is no PyTorch file: save "
            "the state_dict alone, with torch.save(model.state_dict(), PATH)"
        ) from None
    except Exception as error:  # a file of another format may raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} cannot be read as a PyTorch file: {reason}") from None


def _find_state(content: Any, source: str) -> Mapping[str, Any]:
    """Return the weights, which are all of `content` or its `state_dict`."""
    state = content
    if isinstance(content, Mapping):
        state = content.get("state_dict", content)
    if not isinstance(state, Mapping):
        raise InputError(
            f"{source} holds a {type(state).__name__}, expected weights by their names"
        )
    return state


def _remove_wrappers(state: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the names of wrappers around the model, or parts of it, from names."""
    weights = {
        ".".join(part for part in str(name).split(".") if part not in _WRAPPERS): value
        for name, value in state.items()
    }
    # If two names become the same, all stay as they are, to be refused later.
    return weights if len(weights) == len(state) else dict(state)


def _to_arrays(state: Mapping[str, Any], source: str) -> dict[str, np.ndarray]:
    unexpected = [name for name in state if not _NAME.fullmatch(name)]
    if unexpected:
        hint = ""
        if any(name.endswith((".weight_q", "embs.weight")) for name in unexpected):
            hint = "; --qr-flag and --md-flag have no way here"
        elif unexpected[0].startswith("v_W_l"):
            hint = "; multiply each row of emb_l by its weight in v_W_l and drop v_W_l"
        raise InputError(
            f"{source} has {unexpected[0]}, expected names such as emb_l.0.weight, "
            f"bot_l.0.weight, bot_l.0.bias and top_l.0.weight{hint}"
        )
    arrays = {name: _as_array(value, name, source) for name, value in state.items()}
    for name, array in arrays.items():
        rank = 1 if name.endswith("bias") else 2
        if array.dtype != np.float32 or array.ndim != rank:
            raise InputError(
                f"{source} has {name} of type {array.dtype} and shape {array.shape}, "
                f"expected float32 of {rank} dimension{'s' * (rank > 1)}"
            )
    return arrays


def _as_array(value: Any, name: str, source: str) -> np.ndarray:
    if not hasattr(value, "detach"):
        return np.asarray(value)
    try:
        return np.asarray(value.detach().cpu())
    except TypeError:  # PyTorch has types that NumPy has not, such as bfloat16
        raise InputError(
            f"{source} has {name} of type {value.dtype}, expected float32: save "
            "model.float().state_dict()"
        ) from None


def _tables(arrays: Mapping[str, np.ndarray], source: str) -> list[np.ndarray]:
    count = sum(name.startswith("emb_l.") for name in arrays)
    tables = [_get(arrays, f"emb_l.{i}.weight", source) for i in range(max(count, 1))]
    for i, table in enumerate(tables):
        if table.shape[1] != tables[0].shape[1]:
            raise InputError(
                f"{source} has emb_l.{i}.weight of width {table.shape[1]} and "
                f"emb_l.0.weight of width {tables[0].shape[1]}, expected one width"
            )
    return tables


def _dense_layers(
    arrays: Mapping[str, np.ndarray], mlp: str, source: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return pairs of weight `(units, inputs)` and bias; each fits the layer before."""
    count = (sum(name.startswith(f"{mlp}.") for name in arrays) + 1) // 2
    layers: list[tuple[np.ndarray, np.ndarray]] = []
    for index in range(0, 2 * max(count, 1), 2):
        weight = _get(arrays, f"{mlp}.{index}.weight", source)
        bias = _get(arrays, f"{mlp}.{index}.bias", source)
        inputs = len(layers[-1][1]) if layers else weight.shape[1]
        if weight.shape != (len(bias), inputs):
            raise InputError(
                f"{source} has {mlp}.{index}.weight of shape {weight.shape}, expected "
                f"{(len(bias), inputs)} between its bias and the layer before"
            )
        layers.append((weight, bias))
    return layers


def _get(arrays: Mapping[str, np.ndarray], name: str, source: str) -> np.ndarray:
    if name not in arrays:
        raise InputError(f"{source} has no {name}: expected the whole state_dict")
    return arrays[name]


def _check_widths(
    tables: Sequence[np.ndarray],
    bottom: Sequence[tuple[np.ndarray, np.ndarray]],
    top: Sequence[tuple[np.ndarray, np.ndarray]],
    self_interaction: bool,
    source: str,
) -> None:
    dim, vectors = tables[0].shape[1], 1 + len(tables)
    if _units(bottom)[-1] != dim:
        raise InputError(
            f"{source} has a bottom MLP that ends at width {_units(bottom)[-1]}, "
            f"expected {dim}, the width of its tables"
        )
    widths = {
        has_self: dim + vectors * (vectors + (1 if has_self else -1)) // 2
        for has_self in (False, True)
    }
    num_inputs = top[0][0].shape[1]
    if num_inputs != widths[self_interaction]:
        hint = ""
        if num_inputs == widths[not self_interaction]:
            hint = f": give self_interaction={not self_interaction}"
        elif num_inputs == dim * vectors:
            hint = ": was it trained with --arch-interaction-op=cat?"
        raise InputError(
            f"{source} has top_l.0.weight for {num_inputs} inputs, expected "
            f"{widths[self_interaction]} from {vectors} vectors of width {dim} with "
            f"self_interaction={self_interaction}{hint}"
        )
    if _units(top)[-1] != 1:
        raise InputError(
            f"{source} has a top MLP that ends at width {_units(top)[-1]}, expected 1"
        )


def _units(layers: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[int]:
    return [len(bias) for _, bias in layers]


def _require_reference_model(model: DLRM) -> None:
    tables, bottom, top = model.embeddings, model.bottom_mlp, model.top_mlp
    if tables is None or bottom is None:
        difference = "only dense or only categorical features"
    elif not isinstance(model.interaction, DotInteraction):
        difference = "another interaction than DotInteraction"
    elif model.bucket_vectors is not None:
        difference = "vectors for buckets of dense features"
    elif tables.num_collisions is not None or {*(tables.table_dims or [])} - {
        tables.embedding_dim
    }:
        difference = "tables of several widths or with shared rows"
    elif tables.combiner != "sum":
        difference = f"the combiner {tables.combiner} for bags of ids"
    elif (bottom.activation, bottom.final_activation, top.activation) != (
        "relu",
    ) * 3 or top.final_activation is not None:
        difference = "another activation than ReLU, or one after the last layer"
    elif bottom.normalization or top.normalization:
        difference = f"{bottom.normalization or top.normalization} normalization"
    else:
        return
    raise InputError(f"{model.name} has {difference}: the reference has no such model")
