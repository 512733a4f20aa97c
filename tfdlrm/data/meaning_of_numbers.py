"""What a feature of a column of numbers means, as text to compare, and differences."""

import json
from typing import Any

from tfdlrm.data.number_features import NumberFeature


def as_text(feature: NumberFeature) -> str:
    """Return the column, the limits and the transform with all its numbers.

    Example:

    >>> from tfdlrm.data.transforms import Standardize
    >>> as_text(NumberFeature("age", Standardize(2.5, 1.0)))
    '{"column": "age", "transform": {"deviation": 1.0, "mean": 2.5, "name": \
"standardize"}}'
    """
    return json.dumps(feature.to_json(), sort_keys=True)


def difference(there: str, here: str) -> str:
    """Return in words the first difference of two transforms.

    Args:
        there: A word such as `log1p`, or what `as_text` wrote.
        here: Another one.

    Example:

    >>> from tfdlrm.data.transforms import MinMax
    >>> texts = [as_text(NumberFeature("age", MinMax(0.0, high))) for high in (1, 2)]
    >>> difference(*texts)
    'minmax with high 1 there, 2 here'
    """
    fields, fields_here = _fields(there), _fields(here)
    name, name_here = fields.pop("transform"), fields_here.pop("transform")
    if name != name_here:
        return f"transform {name} there, {name_here} here"
    keys = [*dict.fromkeys([*fields, *fields_here])]
    for key in sorted(keys, key=lambda key: key == "boundaries"):
        value, value_here = fields.get(key), fields_here.get(key)
        if value != value_here:
            if key == "boundaries" and value and value_here:
                pairs = zip(value, value_here, strict=True)
                value, value_here = next(pair for pair in pairs if pair[0] != pair[1])
                key = "the first boundary that differs"
            return f"{name} with {key} {value} there, {value_here} here"
    return f"transform {there} there, {here} here"


def _fields(text: str) -> dict[str, Any]:
    """Return the name of a transform as `transform`, and what else describes it."""
    if not text.startswith("{"):
        return {"transform": text}
    feature: dict[str, Any] = json.loads(text)
    transform: dict[str, Any] = feature.pop("transform")
    return {"transform": transform.pop("name"), **feature, **transform}
