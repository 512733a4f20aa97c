"""The meaning of the ids, numbers and labels of a data set, as one value to compare.

If two data sets have the same meaning, a model that was trained on one of them can be
measured on the other. Their rows, shards, splits and record formats may differ.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tfdlrm.base.checksums import sorted_sha256
from tfdlrm.base.errors import InputError
from tfdlrm.data.dialects import traits_of
from tfdlrm.data.meaning_of_numbers import as_text
from tfdlrm.data.schema import FeatureSchema

_SAME_LABELS = {
    **dict.fromkeys(("1", "1.0", "true", "True", "TRUE"), "1"),
    **dict.fromkeys(("0", "0.0", "false", "False", "FALSE"), "0"),
}
"""The value of each spelling that a label without `positive` may have."""


@dataclass(frozen=True)
class CategoricalMeaning:
    """The meaning of the ids of a categorical column.

    Args:
        name: Name of the column.
        num_ids: Number of ids, with those of missing and unknown values.
        multi_hot: Whether a row may have any number of ids.
        vocabulary: Checksum of the values that have an id, in the order of their ids;
            `None` if there is no vocabulary, or if it is unknown.
        buckets: How its values come from a column of numbers, as
            `meaning_of_numbers.as_text` writes it; `None` if they are in the log.
    """

    name: str
    num_ids: int
    multi_hot: bool
    vocabulary: str | None
    buckets: str | None = None


@dataclass(frozen=True)
class Meaning:
    """The meaning of the ids, numbers and labels of a data set.

    Args:
        label: Name of the label's column.
        positive: The text of a label that means 1.
        dense: Name and transform of each dense column, in order; the transform is a
            word, or what `meaning_of_numbers.as_text` writes.
        categorical: The categorical columns, in order.
        values: The sort of values that get ids, in words: Criteo's `hashes`, or `text`.
        dialect: Name of the rule that turns values, and unknown values, into ids.
        reserved_ids: Ids that belong to no single value, by their meaning.
        max_index_range: The modulus of hashes (dialect facebook).
        hash_buckets: Number of ids over which hashes are spread (dialect hash).
        missing: For each column that spells a missing value in words, these spellings.

    Example:

    >>> from tfdlrm.data.schema import CategoricalFeature
    >>> schema = FeatureSchema(("price",), (CategoricalFeature("country", 5),))
    >>> Meaning.of(schema).dense
    (('price', 'log1p'),)
    """

    label: str
    positive: str
    dense: tuple[tuple[str, str], ...]
    categorical: tuple[CategoricalMeaning, ...]
    values: str
    dialect: str
    reserved_ids: tuple[tuple[str, int], ...]
    max_index_range: int | None
    hash_buckets: int | None
    missing: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, schema: FeatureSchema) -> "Meaning":
        """Return the meaning of a data set, or of a model, by its schema."""
        positive = (schema.columns or {}).get("positive")
        positive = "1" if positive is None else str(positive)
        modulo = schema.max_index_range
        return cls(
            label=schema.label,
            positive=_SAME_LABELS.get(positive, positive),
            dense=tuple(
                (name, _transform(schema, name)) for name in schema.dense_features
            ),
            categorical=tuple(
                CategoricalMeaning(
                    feature.name,
                    feature.vocabulary_size,
                    feature.multi_hot,
                    schema.vocabulary_contents.get(feature.name),
                    _buckets(schema, feature.name),
                )
                for feature in schema.categorical_features
            ),
            values=_values(schema),
            dialect=schema.dialect,
            reserved_ids=tuple(sorted(schema.reserved_ids.items())),
            # A remainder by 2**32 leaves 32-bit hashes as they are.
            max_index_range=None if modulo == 2**32 else modulo,
            hash_buckets=schema.hash_buckets,
            missing=_missing(schema),
        )

    @property
    def is_known(self) -> bool:
        """Whether the meaning of every id is known."""
        return not traits_of(self.dialect).has_vocabulary or all(
            feature.vocabulary is not None for feature in self.categorical
        )

    @property
    def fingerprint(self) -> str:
        """A checksum of the meaning, in hexadecimal."""
        return sorted_sha256(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return the same in types of JSON, which `from_json` reads."""
        fields = asdict(self)
        for column in fields["categorical"]:
            if column["buckets"] is None:  # as in earlier versions
                del column["buckets"]
        return fields

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Meaning":
        """Read what `to_json` returned.

        Raises:
            KeyError, TypeError: If `fields` are something else.
        """
        return cls(
            **{
                **fields,
                "dense": tuple(
                    (name, transform) for name, transform in fields["dense"]
                ),
                "categorical": tuple(
                    CategoricalMeaning(**column) for column in fields["categorical"]
                ),
                "reserved_ids": tuple(
                    (name, number) for name, number in fields["reserved_ids"]
                ),
                "missing": tuple(
                    (name, tuple(spellings))
                    for name, spellings in fields.get("missing", ())
                ),
            }
        )


def origin_problem(mark: str, schema: FeatureSchema) -> str | None:
    """Return what is wrong with rows that have the fingerprint of another data set.

    Args:
        mark: The fingerprint of the rows; empty if an earlier release or another tool
            wrote them.
        schema: Schema of the data set to which the rows should belong.

    Example:

    >>> schema = FeatureSchema(("price",), ())
    >>> origin_problem(Meaning.of(schema).fingerprint, schema) is None
    True
    """
    meaning = Meaning.of(schema)
    if not mark or not meaning.is_known or mark == meaning.fingerprint:
        return None
    return (
        "its rows are of another data set, whose ids or labels mean something else: "
        f"fingerprint {mark[:12]}, expected {meaning.fingerprint[:12]}"
    )


def read_meaning(contents: bytes | Mapping[str, Any]) -> Meaning:
    """Read what `Meaning.to_json` returned, or JSON of it.

    Raises:
        InputError: If it is something else, perhaps written by a later release.
    """
    try:
        if isinstance(contents, bytes):
            contents = dict(json.loads(contents))
        return Meaning.from_json(contents)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"the meaning of ids cannot be read ({error}): expected one of this "
            "version of tfdlrm; use the version that wrote it"
        ) from None


def _values(schema: FeatureSchema) -> str:
    """Return the sort of values that get ids, in words."""
    if schema.columns is None:
        return "hashes"
    joins = schema.columns.get("floats_as_integers", False)
    return "text with 7.0 as 7" if joins else "text"


def _missing(schema: FeatureSchema) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the spellings of missing values in columns that are inputs of a model."""
    spellings = (schema.columns or {}).get("missing", {})
    return tuple(
        (name, tuple(sorted(spellings[name])))
        for name in schema.raw_columns
        if name in spellings
    )


def _transform(schema: FeatureSchema, name: str) -> str:
    if name in schema.transforms:
        return as_text(schema.transforms[name])
    return "none" if name in schema.untransformed else schema.dense_transform


def _buckets(schema: FeatureSchema, name: str) -> str | None:
    feature = schema.transforms.get(name)
    return None if feature is None else as_text(feature)
