"""A picture of a model: its parts, their sizes, and what flows from which to which."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from matplotlib.figure import Figure

from tfdlrm.base.errors import InputError
from tfdlrm.base.figures import save_figure
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.models.click_model import ClickModel

FORMATS = (".png", ".svg", ".pdf")

_DENSE, _IDS, _OUTPUT = "dense features", "categorical features", "probability"
_COLORS = {_DENSE: "#e8e8e8", _IDS: "#e8e8e8", _OUTPUT: "#f7d9c4"}
_PART_COLOR = "#d5e3f0"


@dataclass(frozen=True)
class _Node:
    """One box.

    Args:
        text: What it says below its name.
        sources: Names of the boxes whose outputs it takes.
    """

    text: str
    sources: tuple[str, ...] = ()


def check_picture_path(path: Path) -> None:
    """Refuse a path that no picture can be written to.

    Raises:
        InputError: If the format is unknown or the directory is not there.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"plot is {path}, expected a name in {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise InputError(
            f"plot is {path}: {path.parent} is no directory, make it first"
        )


def draw_model(model: ClickModel, schema: FeatureSchema, path: Path) -> None:
    """Draw a built model, from its inputs below to the probability on top.

    Args:
        model: The model.
        schema: The columns that it is built for.
        path: Where to; the suffix says in which format.
    """
    nodes = _nodes(model, schema)
    levels = _levels(nodes)
    places = _places(nodes, levels)
    height = 1.25 * (1 + max(levels.values()))
    figure = Figure(figsize=(8, height), layout="constrained")
    axis = figure.subplots()
    for name, node in nodes.items():
        for source in node.sources:
            is_straight = levels[name] - levels[source] == 1
            axis.annotate(
                "",
                xy=_below(places[name]),
                xytext=_above(places[source]),
                zorder=1,  # behind the boxes
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": "#555555",
                    "shrinkA": 0,
                    "shrinkB": 0,
                    "connectionstyle": f"arc3,rad={0 if is_straight else -0.35}",
                },
            )
        axis.text(
            *places[name],
            f"{_bold(name)}\n{node.text}",
            ha="center",
            va="center",
            fontsize=9,
            bbox={
                "boxstyle": "round,pad=0.5",
                "facecolor": _COLORS.get(name, _PART_COLOR),
                "edgecolor": "#555555",
            },
        )
    axis.set(xlim=(0, 1), ylim=(-0.5, 0.5 + max(levels.values())))
    axis.set_title(f"{model.name}: {model.count_params():,} parameters")
    axis.axis("off")
    save_figure(figure, path)


def _nodes(model: ClickModel, schema: FeatureSchema) -> dict[str, _Node]:
    """The inputs, the parts in the order of their calls, and the probability."""
    dense = keras.Input((len(schema.dense_features),))
    ids = keras.Input((len(schema.categorical_features),), dtype="int64")
    # Keras remembers of a symbolic tensor where it comes from.
    logits = model.logits(dense, ids, training=False)
    parts = {
        id(layer): name
        for name in model.PARTS
        for layer in _layers(getattr(model, name))
    }
    parts |= {id(_operation(dense)): _DENSE, id(_operation(ids)): _IDS}
    num_ids = sum(schema.vocabulary_sizes)
    nodes = {
        _DENSE: _Node(f"{len(schema.dense_features)} columns"),
        _IDS: _Node(f"{len(schema.categorical_features)} columns, {num_ids:,} ids"),
    }
    sources = _collect(logits, parts, model, nodes)
    text = "sigmoid of the sum" if len(sources) > 1 else "sigmoid"
    nodes[_OUTPUT] = _Node(text, tuple(sources))
    used = {source for node in nodes.values() for source in node.sources} | {_OUTPUT}
    return {name: node for name, node in nodes.items() if name in used}


def _collect(
    tensor: Any, parts: Mapping[int, str], model: ClickModel, nodes: dict[str, _Node]
) -> list[str]:
    """Add to `nodes` the part that gave `tensor`, and those before it.

    Returns:
        The names of the parts nearest to `tensor`: reshaping, adding and the like are
        no parts.
    """
    history = tensor._keras_history
    inputs = history.operation._inbound_nodes[history.node_index].input_tensors
    sources: list[str] = []
    for each in inputs:
        sources += _collect(each, parts, model, nodes)
    sources = list(dict.fromkeys(sources))
    name = parts.get(id(history.operation))
    if name is None:
        return sources
    if name in (_DENSE, _IDS):
        return [name]
    known = nodes[name].sources if name in nodes else ()
    sources = [each for each in dict.fromkeys([*known, *sources]) if each != name]
    text = _describe(getattr(model, name), inputs[0].shape[1], tensor.shape[-1])
    nodes[name] = _Node(text, tuple(sources))
    return [name]


def _describe(part: Any, inputs: int, outputs: int) -> str:
    layers = _layers(part)
    if isinstance(part, EmbeddingCollection):
        return f"{part.num_features} tables of width {part.embedding_dim}"
    if isinstance(part, MLP):
        return " → ".join(str(width) for width in (inputs, *part.units))
    if isinstance(part, DotInteraction):
        return f"{inputs} vectors → {outputs} products"
    times = f"{len(layers)} times " if len(layers) > 1 else ""
    return f"{times}{type(layers[0]).__name__}"


def _layers(part: Any) -> list[keras.layers.Layer]:
    if part is None:
        return []
    return list(part) if isinstance(part, list | tuple) else [part]


def _bold(name: str) -> str:
    spaced = name.replace("_", " ").replace(" ", r"\ ")
    return rf"$\bf{{{spaced}}}$"


def _operation(tensor: Any) -> Any:
    return tensor._keras_history.operation


def _levels(nodes: Mapping[str, _Node]) -> dict[str, int]:
    """Of each box, how many stand below it."""

    def level(name: str) -> int:
        return 1 + max((level(each) for each in nodes[name].sources), default=-1)

    return {name: level(name) for name in nodes}


def _places(
    nodes: Iterable[str], levels: Mapping[str, int]
) -> dict[str, tuple[float, float]]:
    """Of each box, where its middle is: side by side with those of its level."""
    places = {}
    for name in nodes:
        row = [each for each in nodes if levels[each] == levels[name]]
        places[name] = ((row.index(name) + 0.5) / len(row), float(levels[name]))
    return places


def _above(place: tuple[float, float]) -> tuple[float, float]:
    return place[0], place[1] + 0.2


def _below(place: tuple[float, float]) -> tuple[float, float]:
    return place[0], place[1] - 0.2
