"""Read from an exported model's schema what its raw columns hold."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfdlrm.base.errors import InputError
from tfdlrm.data.dialects import traits_of
from tfdlrm.data.schema import FILE_NAME, CategoricalFeature, FeatureSchema
from tfdlrm.data.vocabulary_files import read_vocabulary
from tfdlrm.serving.raw_column import RawColumn

log = logging.getLogger("tfdlrm.serving")

MOST_VALUES = 64
"""A column of booleans has fewer ids; larger vocabularies are not read."""

_JSON_BOOLEANS = ("false", "true")


def described_columns(directory: Path) -> dict[str, RawColumn]:
    """Return the raw columns of a model by name; none for a model of another tool.

    Args:
        directory: The directory of the version that holds the schema.
    """
    if not (directory / FILE_NAME).is_file():
        return {}
    try:
        return _columns(FeatureSchema.load(directory), directory)
    # Whatever a file of another release holds, text can be served.
    except (InputError, KeyError, TypeError, ValueError) as error:
        log.warning("%s: raw columns are taken as text only: %s", directory, error)
        return {}


def _columns(schema: FeatureSchema, directory: Path) -> dict[str, RawColumn]:
    if schema.columns is None:
        integers = dict.fromkeys(schema.number_columns, RawColumn("integer"))
        return {**integers, **dict.fromkeys(schema.text_columns, RawColumn("hash"))}
    description: Mapping[str, Any] = schema.columns
    is_typed = description["format"] == "parquet"
    number = RawColumn("number", is_typed, booleans=("0", "1") if is_typed else None)
    columns = dict.fromkeys(schema.number_columns, number)
    separators = dict(
        zip(schema.multi_hot, description.get("separators", ()), strict=True)
    )
    for feature in schema.categorical_features:
        if feature.name in schema.transforms:  # its column is one of numbers
            continue
        columns[feature.name] = RawColumn(
            "category",
            is_typed,
            is_typed or bool(description.get("floats_as_integers")),
            feature.multi_hot,
            separators.get(feature.name),
            _JSON_BOOLEANS if is_typed else _booleans(schema, feature, directory),
        )
    return columns


def _booleans(
    schema: FeatureSchema, feature: CategoricalFeature, directory: Path
) -> tuple[str, str] | None:
    """Return false and true as a log in text spells them: `True`, `TRUE` or `true`."""
    if not traits_of(schema.dialect).has_vocabulary:
        return None  # every spelling has a hash
    if feature.vocabulary_size > MOST_VALUES:
        return _JSON_BOOLEANS
    num_values = feature.vocabulary_size - len(schema.reserved_ids)
    checksum = schema.vocabularies.get(feature.name)
    vocabulary = read_vocabulary(directory, feature.name, num_values, checksum)
    texts = vocabulary.sort("frequency", descending=True)["value"].drop_nulls()
    by_word = {text.lower(): text for text in reversed(texts.to_list())}
    no, yes = (by_word.get(word) for word in _JSON_BOOLEANS)
    if yes is None and no is None:
        return _JSON_BOOLEANS
    # A value that training has not seen is spelled as the other one.
    return no or _in_case_of(yes or "", "false"), yes or _in_case_of(no or "", "true")


def _in_case_of(text: str, word: str) -> str:
    """Return a word in capitals where a text has them."""
    if text.isupper():
        return word.upper()
    return word.capitalize() if text[:1].isupper() else word
