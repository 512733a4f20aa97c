"""Single values of JSON requests; loads no TensorFlow."""

import base64
import binascii
from typing import Any

from tfdlrm.serving.errors import refuse

MOST_SHOWN = 40
"""Most characters of a value in a message."""


def is_base64(value: Any) -> bool:
    """Return whether a value is an object that holds bytes."""
    return (
        isinstance(value, dict)
        and value.keys() == {"b64"}
        and isinstance(value["b64"], str)
    )


def encode(value: str | dict[str, Any]) -> bytes:
    """Return the bytes of a string, or of an object with base64.

    Raises:
        ServingError: If an object is no base64.
    """
    if isinstance(value, str):
        return value.encode()
    if not is_base64(value):
        refuse('an object is not formatted correctly for base64 data: {"b64": TEXT}')
    # As TF Serving reads it: broken into lines, and without its padding too.
    text = "".join(value["b64"].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        refuse("Unable to base64 decode")


def describe(value: Any) -> str:
    """Return a value in words, for messages."""
    names: dict[type, str] = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a bool",
        type(None): "null",
    }
    if type(value) in (int, float):
        return f"the number {str(value)[:MOST_SHOWN]}"
    return names.get(type(value), type(value).__name__)
