"""The page at the server's root: a model's results, and a form to ask it.

The page is one answer: the style and the scripts are inside, and the policy names them
by their checksums, so that a browser runs nothing else.
"""

import base64
import hashlib
import html
import json
from functools import cache
from importlib import resources

from tfdlrm.serving.http.model_facts import describe_model
from tfdlrm.serving.models import Models

_SCRIPTS = (
    "elements.js",
    "charts.js",
    "fields.js",
    "answer.js",
    "snippets.js",
    "page.js",
)


@cache
def policy() -> str:
    """Return the policy: no other resources, and questions to this server only."""
    style, script = (_checksum(text) for text in (_style(), _script()))
    return (
        f"default-src 'none'; style-src '{style}'; script-src '{script}'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def page(models: Models, name: str | None = None, version: int | None = None) -> bytes:
    """Return the page of a model, with what is known of it inside.

    Args:
        models: The models that are served.
        name: The model; the first one if it is not served.
        version: Number of the version; the newest if it is not served.
    """
    facts = describe_model(models, name, version)
    data = json.dumps(facts, allow_nan=False).replace("<", "\\u003c")
    title = html.escape(facts.get("name") or "no model")
    parts = {"title": title, "style": _style(), "script": _script(), "data": data}
    text = _read("page.html")
    # One pass: what a model says is not looked through for the names of parts.
    beginning, *rest = text.split("{{")
    for piece in rest:
        part, _, following = piece.partition("}}")
        beginning += parts[part] + following
    return beginning.encode()


@cache
def _read(name: str) -> str:
    return resources.files(__package__).joinpath("web", name).read_text("utf-8")


@cache
def _style() -> str:
    return _read("page.css")


@cache
def _script() -> str:
    return '"use strict";\n' + "\n".join(map(_read, _SCRIPTS))


def _checksum(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
