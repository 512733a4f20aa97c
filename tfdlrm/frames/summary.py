"""What each column of a frame is to a model, in words."""

from collections.abc import Sequence

from tfdlrm.base.plain_text import shorten, text_width
from tfdlrm.data.dialects import traits_of
from tfdlrm.data.schema import FeatureSchema
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
        words = [reasons[feature.name]] if feature.name in reasons else []
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
    return "as it is" if name in schema.untransformed else "log(max(x, 0) + 1)"


def _ids(schema: FeatureSchema, vocabulary_size: int) -> str:
    number = vocabulary_size - len(schema.reserved_ids)
    if not traits_of(schema.dialect).has_vocabulary:
        return f"{number:,} ids by a hash"
    return f"{number:,} value{'' if number == 1 else 's'} with an id"
