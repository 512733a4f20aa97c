"""What the ids, numbers and labels of a data set mean, as one value to compare.

Two data sets whose meaning is the same may be used for one another: a model that was
trained on the one is measured rightly on the other. Their rows, shards, splits and
record formats may differ.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tfdlrm.base.errors import InputError
from tfdlrm.data.dialects import traits_of
from tfdlrm.data.schema import FeatureSchema

_SHOWN = 3
"""Differences that a message names."""

_SAME_LABELS = {
    **dict.fromkeys(("1", "1.0", "true", "True", "TRUE"), "1"),
    **dict.fromkeys(("0", "0.0", "false", "False", "FALSE"), "0"),
}
"""Spellings of one value, as a label without `positive` is read."""


@dataclass(frozen=True)
class CategoricalMeaning:
    """What the ids of a categorical column mean.

    Args:
        name: Name of the column.
        num_ids: Number of ids, those of missing and unknown values included.
        multi_hot: Whether a row has any number of ids.
        vocabulary: Checksum of the values that have an id, in the order of their ids;
            `None` where there are none, or where it is not known.
    """

    name: str
    num_ids: int
    multi_hot: bool
    vocabulary: str | None


@dataclass(frozen=True)
class Meaning:
    """What the ids, numbers and labels of a data set mean.

    Args:
        label: Name of the label's column.
        positive: The text of a label that means 1.
        dense: Name and transform of each dense column, in order.
        categorical: The categorical columns, in order.
        values: What values are before they get ids, in words: Criteo's `hashes`, or
            `text`.
        dialect: The rule from values to ids, which says what unknown values get.
        reserved_ids: The ids that are no value's own, by what they stand for.
        max_index_range: Hashes are taken modulo this first (dialect facebook).
        hash_buckets: Ids that hashes are spread over (dialect hash).
        missing: For each column of which the log spells a missing value in words, these
            spellings.

    Example:

    >>> from tfdlrm.data.schema import CategoricalFeature
    >>> schema = FeatureSchema(("price",), (CategoricalFeature("country", 5),))
    >>> there = Meaning.of(schema)
    >>> there.dense
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
        """Whether it says what every id stands for."""
        return not traits_of(self.dialect).has_vocabulary or all(
            feature.vocabulary is not None for feature in self.categorical
        )

    @property
    def fingerprint(self) -> str:
        """A checksum of everything here, in hexadecimal."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads back, of types that JSON keeps."""
        return asdict(self)

    @classmethod
    def from_json(cls, described: Mapping[str, Any]) -> "Meaning":
        """Read what `to_json` returned.

        Raises:
            KeyError, TypeError: If it is something else.
        """
        return cls(
            **{
                **described,
                "dense": tuple((name, how) for name, how in described["dense"]),
                "categorical": tuple(
                    CategoricalMeaning(**each) for each in described["categorical"]
                ),
                "reserved_ids": tuple(
                    (name, number) for name, number in described["reserved_ids"]
                ),
                "missing": tuple(
                    (name, tuple(spellings))
                    for name, spellings in described.get("missing", ())
                ),
            }
        )


def differences(there: Meaning, here: Meaning) -> list[str]:
    """Name what two meanings differ in; a vocabulary that is not known is passed over.

    Args:
        there: The meaning that was learned, by a model or a run.
        here: The meaning of the data at hand.

    Returns:
        A short text for each difference; none if there are none.

    Example:

    >>> from dataclasses import replace
    >>> there = Meaning.of(FeatureSchema(("price",), ()))
    >>> differences(there, replace(there, positive="no"))
    ["label: positive is '1' there, 'no' here"]
    """
    found = []
    if there.label != here.label:
        found.append(f"label: column {there.label} there, {here.label} here")
    if there.positive != here.positive:
        found.append(
            f"label: positive is {there.positive!r} there, {here.positive!r} here"
        )
    rules = ("dialect", "max_index_range", "hash_buckets", "values")
    for name in rules:
        learned, given = getattr(there, name), getattr(here, name)
        if learned != given:
            found.append(f"{name}: {learned} there, {given} here")
    if there.dialect == here.dialect and there.reserved_ids != here.reserved_ids:
        learned, given = dict(there.reserved_ids), dict(here.reserved_ids)
        found.append(f"reserved_ids: {learned} there, {given} here")
    found += _differences_of_columns(there, here)
    learned, given = dict(there.missing), dict(here.missing)
    for name in dict.fromkeys([*learned, *given]):
        if learned.get(name) != given.get(name):
            spellings = [list(each.get(name, ())) for each in (learned, given)]
            found.append(
                f"column {name}: missing {spellings[0]} there, {spellings[1]} here"
            )
    return found


def _differences_of_columns(there: Meaning, here: Meaning) -> list[str]:
    for noun, learned, given in (
        (
            "dense columns",
            [name for name, _ in there.dense],
            [name for name, _ in here.dense],
        ),
        (
            "categorical columns",
            [each.name for each in there.categorical],
            [each.name for each in here.categorical],
        ),
    ):
        if learned != given:
            return [_difference_of_names(noun, learned, given)]
    found = [
        f"column {name}: transform {learned} there, {given} here"
        for (name, learned), (_, given) in zip(there.dense, here.dense, strict=True)
        if learned != given
    ]
    for column, other in zip(there.categorical, here.categorical, strict=True):
        text = _difference_of_column(column, other, there, here)
        found += [f"column {column.name}: {text}"] if text else []
    return found


def _difference_of_names(noun: str, there: list[str], here: list[str]) -> str:
    for name in there:
        if name not in here:
            return f"{noun}: {name} is there, and not here"
    for name in here:
        if name not in there:
            return f"{noun}: {name} is here, and not there"
    return f"{noun}: {', '.join(there)} there, {', '.join(here)} here"


def _difference_of_column(
    column: CategoricalMeaning, other: CategoricalMeaning, there: Meaning, here: Meaning
) -> str | None:
    if column.multi_hot != other.multi_hot:
        several = "there" if column.multi_hot else "here"
        return f"several values a row {several} only"
    if there.dialect != here.dialect:
        return None  # which is told already
    is_known = column.vocabulary is not None and other.vocabulary is not None
    if is_known and column.vocabulary != other.vocabulary:
        values = [
            column.num_ids - len(there.reserved_ids),
            other.num_ids - len(here.reserved_ids),
        ]
        return f"another vocabulary ({values[0]:,} values there, {values[1]:,} here)"
    if column.num_ids != other.num_ids and there.hash_buckets == here.hash_buckets:
        return f"{column.num_ids:,} ids there, {other.num_ids:,} here"
    return None


def named(found: list[str]) -> str:
    """Return differences as one text, of many the first few."""
    more = len(found) - _SHOWN
    shown = "; ".join(found[:_SHOWN])
    return f"{shown}; and {more} more" if more > 0 else shown


def origin_problem(mark: str, schema: FeatureSchema) -> str | None:
    """Return what is wrong with rows that bear the fingerprint of another data set.

    Args:
        mark: The fingerprint that they bear; empty where an earlier release, or
            another tool, wrote them.
        schema: Schema of the data set that they are to belong to.

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


def read_meaning(described: bytes | Mapping[str, Any]) -> Meaning:
    """Read what `Meaning.to_json` returned, as it is or as JSON.

    Raises:
        InputError: If it is something else, such as a later release may write.
    """
    try:
        if isinstance(described, bytes):
            described = dict(json.loads(described))
        return Meaning.from_json(described)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"the meaning of ids cannot be read ({error}): expected one of this "
            "version of tfdlrm; use the version that wrote it"
        ) from None


def _values(schema: FeatureSchema) -> str:
    """What values are before they get ids."""
    if schema.columns is None:
        return "hashes"
    joins = schema.columns.get("floats_as_integers", False)
    return "text with 7.0 as 7" if joins else "text"


def _missing(schema: FeatureSchema) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The spellings of missing values in columns that a model takes."""
    spellings = (schema.columns or {}).get("missing", {})
    names = [*schema.dense_features, *(f.name for f in schema.categorical_features)]
    return tuple(
        (name, tuple(sorted(spellings[name]))) for name in names if name in spellings
    )


def _transform(schema: FeatureSchema, name: str) -> str:
    return "none" if name in schema.untransformed else schema.dense_transform
