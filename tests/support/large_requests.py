"""Large requests, which another process than the server's reads."""

import json

from tfdlrm.serving.http.bodies import is_small
from tfdlrm.serving.limits import Limits

LIMITS = Limits(message_bytes=4_000_000, rows=20_000, requests=64, seconds=60.0)

ROWS = 9_000
"""More rows than the server reads itself."""


def as_json(document):
    """Return a document that the server does not read itself."""
    body = json.dumps(document).encode()
    assert not is_small(body)
    return body


def columns(dense, ids):
    """Return rows as inputs of `:predict`."""
    return {"dense_features": dense.tolist(), "categorical_features": ids.tolist()}


def instances(dense, ids):
    """Return rows as instances of `:predict`, or as examples."""
    pairs = zip(dense.tolist(), ids.tolist(), strict=True)
    return [
        {"dense_features": dense_row, "categorical_features": id_row}
        for dense_row, id_row in pairs
    ]
