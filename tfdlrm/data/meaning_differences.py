"""Compare what the ids, numbers and labels of two data sets mean.

Messages say `there` for what a model or a run has learned, and `here` for the data at
hand.
"""

from tfdlrm.data.meaning import CategoricalMeaning, Meaning
from tfdlrm.data.meaning_of_numbers import difference

_MAX_SHOWN = 3
"""Number of differences that a message names."""

_RULES = ("dialect", "max_index_range", "hash_buckets", "values")


def differences(model: Meaning, data: Meaning) -> list[str]:
    """Return the differences of two meanings in words.

    A vocabulary that is unknown in one of them is not compared.

    Args:
        model: The meaning that a model or a run has learned.
        data: The meaning of the data at hand.

    Returns:
        A short text for each difference.

    Example:

    >>> from dataclasses import replace
    >>> from tfdlrm.data.schema import FeatureSchema
    >>> meaning = Meaning.of(FeatureSchema(("price",), ()))
    >>> differences(meaning, replace(meaning, positive="no"))
    ["label: positive is '1' there, 'no' here"]
    """
    return [
        *_label_differences(model, data),
        *_rule_differences(model, data),
        *_column_differences(model, data),
        *_missing_differences(model, data),
    ]


def summarize(texts: list[str]) -> str:
    """Return differences as one text, which has only the first of many.

    Example:

    >>> summarize(["a", "b", "c", "d", "e"])
    'a; b; c; and 2 more'
    """
    num_more = len(texts) - _MAX_SHOWN
    text = "; ".join(texts[:_MAX_SHOWN])
    return f"{text}; and {num_more} more" if num_more > 0 else text


def _label_differences(model: Meaning, data: Meaning) -> list[str]:
    texts = []
    if model.label != data.label:
        texts.append(f"label: column {model.label} there, {data.label} here")
    if model.positive != data.positive:
        texts.append(
            f"label: positive is {model.positive!r} there, {data.positive!r} here"
        )
    return texts


def _rule_differences(model: Meaning, data: Meaning) -> list[str]:
    texts = []
    for name in _RULES:
        value_there, value_here = getattr(model, name), getattr(data, name)
        if value_there != value_here:
            texts.append(f"{name}: {value_there} there, {value_here} here")
    if model.dialect == data.dialect and model.reserved_ids != data.reserved_ids:
        ids_there, ids_here = dict(model.reserved_ids), dict(data.reserved_ids)
        texts.append(f"reserved_ids: {ids_there} there, {ids_here} here")
    return texts


def _column_differences(model: Meaning, data: Meaning) -> list[str]:
    for noun, names_there, names_here in (
        (
            "dense columns",
            [name for name, _ in model.dense],
            [name for name, _ in data.dense],
        ),
        (
            "categorical columns",
            [column.name for column in model.categorical],
            [column.name for column in data.categorical],
        ),
    ):
        if names_there != names_here:
            return [_difference_of_names(noun, names_there, names_here)]
    texts = [
        f"column {name}: {difference(transform_there, transform_here)}"
        for (name, transform_there), (_, transform_here) in zip(
            model.dense, data.dense, strict=True
        )
        if transform_there != transform_here
    ]
    for column, column_here in zip(model.categorical, data.categorical, strict=True):
        text = _difference_of_column(column, column_here, model, data)
        texts += [f"column {column.name}: {text}"] if text else []
    return texts


def _difference_of_names(
    noun: str, names_there: list[str], names_here: list[str]
) -> str:
    for name in names_there:
        if name not in names_here:
            return f"{noun}: {name} is there, and not here"
    for name in names_here:
        if name not in names_there:
            return f"{noun}: {name} is here, and not there"
    return f"{noun}: {', '.join(names_there)} there, {', '.join(names_here)} here"


def _difference_of_column(
    column: CategoricalMeaning,
    column_here: CategoricalMeaning,
    model: Meaning,
    data: Meaning,
) -> str | None:
    if column.multi_hot != column_here.multi_hot:
        several = "there" if column.multi_hot else "here"
        return f"several values a row {several} only"
    if column.buckets != column_here.buckets:
        if column.buckets is None or column_here.buckets is None:
            return (
                f"buckets of numbers {'here' if column_here.buckets else 'there'} only"
            )
        return difference(column.buckets, column_here.buckets)
    if model.dialect != data.dialect:
        return None  # the dialects are reported already
    vocabularies = {column.vocabulary, column_here.vocabulary}
    if None not in vocabularies and len(vocabularies) == 2:
        values_there = column.num_ids - len(model.reserved_ids)
        values_here = column_here.num_ids - len(data.reserved_ids)
        return (
            f"another vocabulary ({values_there:,} values there, {values_here:,} here)"
        )
    if (
        column.num_ids != column_here.num_ids
        and model.hash_buckets == data.hash_buckets
    ):
        return f"{column.num_ids:,} ids there, {column_here.num_ids:,} here"
    return None


def _missing_differences(model: Meaning, data: Meaning) -> list[str]:
    missing_there, missing_here = dict(model.missing), dict(data.missing)
    return [
        f"column {name}: missing {list(missing_there.get(name, ()))} there, "
        f"{list(missing_here.get(name, ()))} here"
        for name in dict.fromkeys([*missing_there, *missing_here])
        if missing_there.get(name) != missing_here.get(name)
    ]
