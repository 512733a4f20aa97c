"""What the page tells of a model: card, results, columns, signatures and versions."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfdlrm.base.errors import InputError
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.raw_columns import RAW_SIGNATURE, in_order
from tfdlrm.exporting.results_file import read_results
from tfdlrm.exporting.versions import CARD_FILE, EXTRA_DIRECTORY, versions_in
from tfdlrm.serving.model_versions import Model
from tfdlrm.serving.models import Models
from tfdlrm.serving.servable import Servable
from tfdlrm.serving.tensor_specs import TensorSpec

MOST_VERSIONS = 8
"""Versions that are shown side by side, the newest."""

Json = dict[str, Any]


def describe_model(models: Models, name: str | None, version: int | None) -> Json:
    """Return what the page shows, in types of JSON without NaN.

    Args:
        models: The models that are served.
        name: The model; the first one if it is not served.
        version: Number of the version; the newest if it is not served.
    """
    served = [model for model in models if model.available]
    names = [model.settings.name for model in served]
    if not served:
        return {"models": []}
    model = served[names.index(name) if name in names else 0]
    number = version if version in model.available else None
    with model.use(number, "") as servable:
        card, results = _card(servable.path), read_results(servable.path)
        facts = {
            "models": names,
            "name": servable.name,
            "version": servable.version,
            "card": card,
            "results": results,
            "columns": _columns(servable, card),
            "samples": _samples(servable, card, results),
            "signatures": {
                signature.name: {
                    "inputs": _tensors(signature.inputs),
                    "outputs": _tensors(signature.outputs),
                }
                for signature in servable.signatures.values()
            },
            "versions": _versions(model),
        }
    finite: Json = _without_nan(facts)
    return finite


def _card(version: Path) -> Json:
    """Return the card of a version; empty if something else exported it."""
    try:
        card = json.loads((version / EXTRA_DIRECTORY / CARD_FILE).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return card if isinstance(card, dict) else {}


def _columns(servable: Servable, card: Json) -> list[Json]:
    """Return the columns of `raw`, in the order of the data set if that is known.

    Each has a `name`; whether the model takes a `list` of texts for a row. Where the
    schema describes it, `content` is `number`, `category` or `bag`; a vocabulary has a
    number of `values`.
    """
    signature = servable.signatures.get(RAW_SIGNATURE)
    if signature is None:
        return []
    schema = _schema(servable.path)
    columns: dict[str, Json] = {
        name: {"name": name, "list": len(spec.shape or ()) > 1}
        for name, spec in signature.inputs.items()
    }
    if schema is None:
        return [columns[name] for name in in_order(columns)]
    directory = servable.path / EXTRA_DIRECTORY
    contents = dict.fromkeys(schema.number_columns, "number")
    contents |= dict.fromkeys(schema.text_columns, "category")
    contents |= dict.fromkeys(schema.multi_hot, "bag")
    for name, column in columns.items():
        column["content"] = contents.get(name)
    for feature in schema.categorical_features:
        if (
            contents.get(feature.name) in ("category", "bag")
            and feature.name in columns
            and vocabulary_path(directory, feature.name).is_file()
        ):
            size = feature.vocabulary_size - len(schema.reserved_ids)
            columns[feature.name]["values"] = size
    return [columns[name] for name in contents if name in columns]


def _schema(version: Path) -> FeatureSchema | None:
    try:
        return FeatureSchema.load(version / EXTRA_DIRECTORY)
    except InputError:
        return None


def _samples(servable: Servable, card: Json, results: Json) -> list[Json]:
    """Return raw rows to begin with: those that occurred, or the card's example."""
    samples = results.get("examples")
    if isinstance(samples, list) and samples:
        return [sample for sample in samples if isinstance(sample, dict)]
    example = card.get("example")
    return [example] if isinstance(example, dict) else []


def _tensors(specs: Mapping[str, TensorSpec]) -> Json:
    return {
        name: {
            "dtype": spec.dtype.name,
            "shape": None if spec.shape is None else list(spec.shape),
        }
        for name, spec in specs.items()
    }


def _versions(model: Model) -> list[Json]:
    """Return the newest versions, whether they are served, and their measures."""
    try:
        paths = versions_in(model.settings.base_path)
    except (OSError, InputError):
        paths = {}
    served = model.available
    numbers = sorted(paths.keys() | served, reverse=True)[:MOST_VERSIONS]
    return [
        {
            "version": number,
            "served": number in served,
            **_facts_of_version(paths.get(number)),
        }
        for number in numbers
    ]


def _facts_of_version(path: Path | None) -> Json:
    if path is None:
        return {}
    card, results = _card(path), read_results(path)
    return {
        "created": results.get("trained") or card.get("created"),
        "data": results.get("data"),
        "parameters": card.get("parameters"),
        "quantization": card.get("quantization"),
        "measures": results.get("measures") or card.get("metrics"),
    }


def _without_nan(value: Any) -> Any:
    """Return a value of JSON with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
