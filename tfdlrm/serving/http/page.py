"""The page at the server's root: the models' cards, and a form to ask a model."""

import html
import json
from functools import cache
from importlib import resources
from typing import Any

from tfdlrm.exporting.raw_columns import RAW_SIGNATURE, in_order
from tfdlrm.exporting.versions import CARD_FILE, EXTRA_DIRECTORY
from tfdlrm.serving.model_versions import Model
from tfdlrm.serving.models import Models
from tfdlrm.serving.servable import Servable

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page has no other resources, and asks this server only."""


def page(models: Models) -> bytes:
    """Return the page, with the descriptions of the models inside."""
    descriptions = [_describe(model) for model in models if model.available]
    data = json.dumps(descriptions).replace("<", "\\u003c")
    names = ", ".join(model["name"] for model in descriptions)
    title = html.escape(names or "no model")
    return _template().replace("{{title}}", title).replace("{{data}}", data).encode()


@cache
def _template() -> str:
    return resources.files(__package__).joinpath("page.html").read_text("utf-8")


def _describe(model: Model) -> dict[str, Any]:
    with model.use(None, "") as servable:
        card = _card(servable)
        return {
            "name": servable.name,
            "version": servable.version,
            "card": card,
            "signatures": {
                signature.name: {
                    "inputs": _tensors(signature.inputs),
                    "outputs": _tensors(signature.outputs),
                }
                for signature in servable.signatures.values()
            },
            "example": _example(servable, card),
        }


def _card(servable: Servable) -> dict[str, Any]:
    file = servable.path / EXTRA_DIRECTORY / CARD_FILE
    try:
        card = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):  # the model was exported by something else
        return {}
    return card if isinstance(card, dict) else {}


def _tensors(specs: dict[str, Any]) -> dict[str, str]:
    return {
        name: f"{spec.dtype.name} {list(spec.shape or ())}"
        for name, spec in specs.items()
    }


def _example(servable: Servable, card: dict[str, Any]) -> dict[str, str]:
    """Return a raw row to begin with: the card's, or a row of empty fields."""
    signature = servable.signatures.get(RAW_SIGNATURE)
    if signature is None:
        return {}
    values = card.get("example")
    row = dict.fromkeys(in_order(signature.inputs), "")
    if isinstance(values, dict):
        row |= {name: str(values[name]) for name in row if values.get(name) is not None}
    return row
