"""What each column of a frame is to a model, in words."""

from collections.abc import Sequence

from tfdlrm.base.plain_text import shorten, text_width
from tfdlrm.data.dialects import traits_of
from tfdlrm.data.number_features import NumberFeature
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.transforms import (
    IsMissing,
    LogSquared,
    MinMax,
    NoTransform,
    Quantiles,
    Standardize,
    Transform,
)
from tfdlrm.frames.inference import InferredColumn

_NAME_WIDTH = 40


def summarize(schema: FeatureSchema, inferred: Sequence[InferredColumn]) -> str:
    """Return a line for each column: its name, its role and the reason.

    Args:
        schema: The columns.
        inferred: What was inferred of columns that nothing described.
    """
    reasons = {column.name: column.reason for column in inferred}
    rows = [
        (name, "dense", [reasons.get(name, _transform(schema, name))])
        for name in schema.dense_features
    ]
    for feature in schema.categorical_features:
        role = "multi-hot" if feature.multi_hot else "categorical"
        words = _buckets(schema, feature.name)
        words += [reasons[feature.name]] if feature.name in reasons else []
        rows.append(
            (feature.name, role, [*words, _ids(schema, feature.vocabulary_size)])
        )
    shown = [(shorten(name, _NAME_WIDTH), role, words) for name, role, words in rows]
    widths = [text_width(name) for name, _, _ in shown]
    return "\n".join(
        f"{name}{' ' * (max(widths) - width)}  {role:11}  {', '.join(words)}"
        for (name, role, words), width in zip(shown, widths, strict=True)
    )


def _transform(schema: FeatureSchema, name: str) -> str:
    if name in schema.transforms:
        feature = schema.transforms[name]
        if isinstance(feature.transform, IsMissing):
            return f"1 where {feature.column} is missing, else 0"
        of_column = "" if feature.column == name else f" of {feature.column}"
        return f"{_words(feature.transform)}{of_column}{_limits(feature)}"
    return "as it is" if name in schema.untransformed else "log(max(x, 0) + 1)"


def _buckets(schema: FeatureSchema, name: str) -> list[str]:
    if name not in schema.transforms:
        return []
    feature = schema.transforms[name]
    words = "floor(log(x)^2)"
    if isinstance(feature.transform, Quantiles):
        words = f"{feature.transform.quantiles} quantiles"
    return [f"buckets of {feature.column}: {words}{_limits(feature)}"]


def _words(transform: Transform) -> str:
    match transform:
        case Standardize(mean, deviation):
            return f"(x - {mean:.6g}) / {deviation:.6g}"
        case MinMax(low, high):
            return f"{low:.6g} to {high:.6g} as 0 to 1"
        case Quantiles(quantiles):
            return f"rank among {quantiles} quantiles, 0 to 1"
        case LogSquared():
            return "floor(log(x)^2)"
        case NoTransform():
            return "as it is"
    return "log(max(x, 0) + 1)"


def _limits(feature: NumberFeature) -> str:
    low, high = feature.clip or (None, None)
    limits = [] if low is None else [f"at least {low:g}"]
    limits += [] if high is None else [f"at most {high:g}"]
    return f", {' and '.join(limits)}" if limits else ""


def _ids(schema: FeatureSchema, vocabulary_size: int) -> str:
    number = vocabulary_size - len(schema.reserved_ids)
    if not traits_of(schema.dialect).has_vocabulary:
        return f"{number:,} ids by a hash"
    return f"{number:,} value{'' if number == 1 else 's'} with an id"
