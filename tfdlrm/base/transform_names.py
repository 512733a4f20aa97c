"""The names of transforms of numbers, for descriptions, settings and their messages."""

DENSE_TRANSFORMS = ("log", "none", "standardize", "minmax", "log2_squared")
"""What a dense feature may be, besides quantiles."""

BUCKETS = ("log2_squared",)
"""What the buckets of a number may be, besides quantiles."""

MAX_QUANTILES = 1000

MISSING_SUFFIX = "_missing"
"""End of the name of a feature that says whether a number is missing."""

BUCKET_SUFFIX = "_bucket"
"""End of the names of the features of buckets that settings add."""

_QUANTILES = "quantiles:"


def parse_transform(text: str, names: tuple[str, ...]) -> dict[str, str | int] | None:
    """Return the transform that a setting names, in types of JSON; `None` if none.

    Example:

    >>> parse_transform("quantiles:20", BUCKETS)
    {'name': 'quantiles', 'quantiles': 20}
    """
    number = text.removeprefix(_QUANTILES)
    if number == text:
        return {"name": text} if text in names else None
    if not number.isascii() or not number.isdigit() or len(number) > 4:
        return None
    if not 2 <= int(number) <= MAX_QUANTILES:
        return None
    return {"name": "quantiles", "quantiles": int(number)}


def expected_transform(names: tuple[str, ...]) -> str:
    """Return in words what `parse_transform` expects.

    Example:

    >>> expected_transform(BUCKETS)
    'log2_squared, or quantiles:N with N from 2 to 1,000'
    """
    return f"{', '.join(names)}, or quantiles:N with N from 2 to {MAX_QUANTILES:,}"
