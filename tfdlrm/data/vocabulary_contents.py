"""Checksums of the values of vocabularies, whatever the bytes of their files."""

import hashlib
from dataclasses import replace
from pathlib import Path

import polars as pl

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.dialects import traits_of
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.data.vocabulary_files import read_vocabulary

_ROWS_AT_ONCE = 2**18

_SHOWN = 40
"""Characters of a value that a message shows."""


def content_checksum(vocabulary: pl.DataFrame) -> str:
    """Return the SHA-256 of the values and their ids, in hexadecimal.

    It depends on no other part of the file: a file from another version of Polars, with
    other frequencies or another compression, has the same checksum.

    Args:
        vocabulary: Columns `value` (UInt32 or String), null for a freed id, and `id`.

    Example:

    >>> first = pl.DataFrame({"value": ["b", "a"], "id": [2, 3]})
    >>> content_checksum(first) == content_checksum(first.reverse())
    True
    >>> second = pl.DataFrame({"value": ["a", "b"], "id": [2, 3]})
    >>> content_checksum(first) == content_checksum(second)
    False
    """
    checksum = hashlib.sha256()
    for slice_of_rows in vocabulary.sort("id").iter_slices(_ROWS_AT_ONCE):
        values, is_free = slice_of_rows["value"], slice_of_rows["value"].is_null()
        checksum.update(slice_of_rows["id"].to_numpy().astype("<i4").tobytes())
        if values.dtype == pl.String:
            # With their lengths, "ab", "c" are not "a", "bc".
            values = values.fill_null("")
            checksum.update(values.str.len_bytes().to_numpy().astype("<u4").tobytes())
            checksum.update(values.str.join("")[0].encode())
        else:
            values = values.fill_null(0)
            checksum.update(values.to_numpy().astype("<u4").tobytes())
        # A freed id differs from the value 0 and from an empty text.
        freed_ids = slice_of_rows["id"].filter(is_free)
        checksum.update(freed_ids.to_numpy().astype("<i4").tobytes())
    return checksum.hexdigest()


def with_contents(schema: FeatureSchema, directory: Path) -> FeatureSchema:
    """Return `schema` with the checksum of every vocabulary.

    Schemas of earlier releases lack checksums; these are computed from the files.

    Args:
        schema: Schema of a data set or of an exported model.
        directory: The directory that holds `vocabulary/`; a column without a file
            there stays without a checksum.

    Raises:
        InputError: If a vocabulary is damaged, or does not fit the schema.
    """
    contents = dict(schema.vocabulary_contents)
    directory = storage.at(directory)
    for feature in schema.categorical_features:
        name = feature.name
        if name in contents or not traits_of(schema.dialect).has_vocabulary:
            continue
        if vocabulary_path(directory, name).is_file():
            contents[name] = content_checksum(_read(directory, schema, feature))
    return replace(schema, vocabulary_contents=contents)


def example_of_difference(
    model: tuple[FeatureSchema, Path], data: tuple[FeatureSchema, Path]
) -> str | None:
    """Return in words the first id that stands for another value.

    Args:
        model: Schema of a model or run with checksums of its vocabularies, and the
            directory that holds its `vocabulary/`.
        data: The same for the data at hand.

    Returns:
        A short text; `None` if no vocabulary differs, or none can be read.
    """
    for feature, feature_here in zip(
        model[0].categorical_features, data[0].categorical_features, strict=False
    ):
        checksums = [
            schema.vocabulary_contents.get(feature.name) for schema, _ in (model, data)
        ]
        if feature.name == feature_here.name and len(set(checksums) - {None}) == 2:
            try:
                vocabulary_there = _read(model[1], model[0], feature)
                return _first_difference(
                    feature.name,
                    vocabulary_there,
                    _read(data[1], data[0], feature_here),
                )
            except InputError:
                return None
    return None


def _read(
    directory: Path, schema: FeatureSchema, feature: CategoricalFeature
) -> pl.DataFrame:
    num_values = feature.vocabulary_size - len(schema.reserved_ids)
    sha256 = schema.vocabularies.get(feature.name)
    return read_vocabulary(storage.at(directory), feature.name, num_values, sha256)


def _first_difference(
    name: str, vocabulary_there: pl.DataFrame, vocabulary_here: pl.DataFrame
) -> str | None:
    if vocabulary_there.schema["value"] != vocabulary_here.schema["value"]:
        return None
    pairs = vocabulary_there.join(
        vocabulary_here, on="id", how="full", coalesce=True, suffix="_here"
    )
    pairs = pairs.sort("id").filter(pl.col("value").ne_missing(pl.col("value_here")))
    if pairs.is_empty():
        return None
    number, value, value_here = pairs.select("id", "value", "value_here").row(0)
    return f"id {number} of {name} is {_shown(value)} there, {_shown(value_here)} here"


def _shown(value: str | int | None) -> str:
    if value is None:
        return "no value's"
    return repr(value[:_SHOWN]) if isinstance(value, str) else f"{value:08x}"
