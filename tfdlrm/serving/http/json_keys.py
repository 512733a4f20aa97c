"""Keys of JSON requests that are not the names of a signature's inputs."""

from collections.abc import Collection

from tfdlrm.base.nearest import nearest
from tfdlrm.serving.http.json_values import MOST_SHOWN
from tfdlrm.serving.tensor_specs import Specs

_MOST_NAMES = 5


def are_raw(specs: Specs) -> bool:
    """Return whether inputs are the raw columns of a model."""
    return any(spec.column is not None for spec in specs.values())


def unlike(keys: Collection[str], specs: Specs) -> str:
    """Return in words which inputs are missing from `keys`, and which keys are none.

    Args:
        keys: Keys of an object; not all inputs, or more than them.
        specs: The inputs.

    Example:

    >>> unlike(["age", "genre"], {"age": None, "genres": None})
    "missing: 'genres'; not expected: 'genre', did you mean 'genres'?"
    """
    missing = [name for name in specs if name not in keys]
    extra = [key for key in keys if key not in specs]
    parts = []
    if missing:
        parts.append(f"missing: {_listed(missing)}")
    if extra:
        parts.append(f"not expected: {_listed(extra)}{_hint(extra, missing)}")
    return "; ".join(parts)


def _hint(extra: list[str], missing: list[str]) -> str:
    names = [nearest(name, missing) for name in extra]
    name = next((name for name in names if name is not None), None)
    return "" if name is None else f", did you mean {name!r}?"


def _listed(names: list[str]) -> str:
    listed = ", ".join(repr(name[:MOST_SHOWN]) for name in names[:_MOST_NAMES])
    num_more = len(names) - _MOST_NAMES
    return f"{listed} and {num_more} more" if num_more > 0 else listed
