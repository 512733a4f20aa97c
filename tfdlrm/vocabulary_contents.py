"""Checksums of vocabularies by their values, whatever the bytes of their files are."""

import hashlib
from dataclasses import replace
from pathlib import Path

import polars as pl

from pipelines.vocabulary import read_vocabulary, vocabulary_path
from tfdlrm import storage
from tfdlrm.schema import FeatureSchema

_ROWS_AT_ONCE = 2**18


def content_checksum(vocabulary: pl.DataFrame) -> str:
    """Return the SHA-256 of the values and their ids, in hexadecimal.

    A file that another version of Polars wrote, with other frequencies or compressed
    in another way, has the same one as long as its values have the same ids.

    Args:
        vocabulary: Columns `value` (UInt32 or String) and `id`.

    Example:

    >>> first = pl.DataFrame({"value": ["b", "a"], "id": [2, 3]})
    >>> content_checksum(first) == content_checksum(first.reverse())
    True
    >>> second = pl.DataFrame({"value": ["a", "b"], "id": [2, 3]})
    >>> content_checksum(first) == content_checksum(second)
    False
    """
    checksum = hashlib.sha256()
    for part in vocabulary.sort("id").iter_slices(_ROWS_AT_ONCE):
        values = part["value"]
        checksum.update(part["id"].to_numpy().astype("<i4").tobytes())
        if values.dtype == pl.String:
            # With their lengths, "ab", "c" are not "a", "bc".
            checksum.update(values.str.len_bytes().to_numpy().astype("<u4").tobytes())
            checksum.update(values.str.join("")[0].encode())
        else:
            checksum.update(values.to_numpy().astype("<u4").tobytes())
    return checksum.hexdigest()


def with_contents(schema: FeatureSchema, directory: Path) -> FeatureSchema:
    """Return `schema` with the checksum of every vocabulary.

    Those that it lacks, as schemas of earlier releases do, are computed from the files.

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
        if name in contents or schema.dialect == "hash":
            continue
        if vocabulary_path(directory, name).is_file():
            num_values = feature.vocabulary_size - len(schema.reserved_ids)
            checksum = schema.vocabularies.get(name)
            vocabulary = read_vocabulary(directory, name, num_values, checksum)
            contents[name] = content_checksum(vocabulary)
    return replace(schema, vocabulary_contents=contents)
