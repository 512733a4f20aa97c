"""Check the inputs of a click model, and put columns of ids in order."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfdlrm.layers._id_columns import in_order, split_frame

DENSE, IDS = "dense_features", "categorical_features"

_EXPECTED = (
    f'expected a dictionary {{"{DENSE}": numbers (batch, n), "{IDS}": integers '
    "(batch, features), bags of them or one column a feature}"
)


def without_frame(inputs: Any) -> Any:
    """Return inputs in which a DataFrame of ids is a dictionary of columns."""
    if not isinstance(inputs, dict) or IDS not in inputs:
        return inputs
    ids = split_frame(inputs[IDS])
    return inputs if ids is inputs[IDS] else {**inputs, IDS: ids}


def check_inputs(inputs: Any, name: str) -> None:
    """Refuse inputs that are no dictionary of dense features and ids.

    Args:
        inputs: Inputs of a model, or their shapes.
        name: Name of the model, for the message.

    Raises:
        ValueError: If one of both is missing, `inputs` is no dictionary, or the dense
            features are not `(batch, n)`.
    """
    if not isinstance(inputs, dict):
        size = f" of {len(inputs)}" if isinstance(inputs, list | tuple) else ""
        raise ValueError(
            f"{name}: the inputs are a {type(inputs).__name__}{size}, {_EXPECTED}."
        )
    missing = [key for key in (DENSE, IDS) if inputs.get(key) is None]
    if missing:
        raise ValueError(
            f"{name}: {' and '.join(missing)} missing among the inputs "
            f"{[*inputs]}, {_EXPECTED}. Without columns of one sort, give an array "
            "(batch, 0)."
        )
    shape = _shape(inputs[DENSE])
    if len(shape) != 2:
        raise ValueError(
            f"{name}: {DENSE} have shape {shape}, expected (batch, n): for one feature "
            "give (batch, 1)."
        )


def _shape(values: Any) -> tuple[int | None, ...]:
    """Return the shape of an array, a tensor, a list or of what is a shape itself."""
    if isinstance(values, tuple | list) and all(
        side is None or isinstance(side, int) for side in values
    ):
        return tuple(values)
    return tuple(values.shape if hasattr(values, "shape") else np.shape(values))


def order_columns(ids: Any, parts: Sequence[Any], name: str) -> list[Any]:
    """Return the columns of a dictionary in the order of the parts of a model.

    Without names the first dictionary is read in its order, and its names are kept.

    Args:
        ids: Ids of each feature by name.
        parts: Layers, of which some have `feature_names`.
        name: Name of the model, for the message.

    Raises:
        ValueError: If columns are missing, or there are others.
    """
    named = [part for part in parts if hasattr(part, "feature_names")]
    known = [part.feature_names for part in named if part.feature_names is not None]
    names = list(known[0]) if known else [*ids]
    name_columns(parts, names)
    return in_order(ids, names, len(names), f"{name}: {IDS}")


def name_columns(parts: Sequence[Any], names: Sequence[str]) -> None:
    """Name the features of those parts that have none yet."""
    for part in parts:
        if getattr(part, "feature_names", names) is None:
            part.feature_names = list(names)


def parts_of(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers that a model was made of."""
    parts = [getattr(model, name) for name in getattr(model, "PARTS", ())]
    return [part for part in parts if isinstance(part, keras.layers.Layer)]
