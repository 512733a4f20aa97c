"""The properties of each dialect that other rooms have to know.

A dialect is asked for them by its name: no other module compares names.
`pipelines.ids.dialects` turns values into ids by them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tfdlrm.base.errors import InputError
from tfdlrm.data.schema import MISSING_ID, NUM_RESERVED_IDS, SPLITS, UNKNOWN_ID


@dataclass(frozen=True)
class DialectTraits:
    """The properties of a dialect.

    Args:
        reserved_ids: Ids that belong to no single value, by their meaning.
        first_id: Id of the first value of a vocabulary.
        has_vocabulary: Whether values are looked up in a vocabulary.
        has_threshold: Whether rare values are left out of the vocabulary.
        missing_is_zero: Whether a missing value is the value 0, and unknown values have
            its id.
        needs_hashes: Whether values must be Criteo's 32-bit hashes.
        split_order: The splits in the order of their rows.
        has_split_settings: Whether the days of each split can be chosen.
        has_number_settings: Whether the transforms of numbers can be chosen.
    """

    reserved_ids: Mapping[str, int] = field(
        default_factory=lambda: {"unknown": UNKNOWN_ID, "missing": MISSING_ID}
    )
    first_id: int = NUM_RESERVED_IDS
    has_vocabulary: bool = True
    has_threshold: bool = False
    missing_is_zero: bool = False
    needs_hashes: bool = False
    split_order: tuple[str, ...] = SPLITS
    has_split_settings: bool = True
    has_number_settings: bool = True


_TRAITS = {
    "default": DialectTraits(has_threshold=True),
    "facebook": DialectTraits(
        reserved_ids={},
        first_id=0,
        missing_is_zero=True,
        needs_hashes=True,
        split_order=("train", "test", "validation"),
        has_split_settings=False,
        has_number_settings=False,
    ),
    "hash": DialectTraits(has_vocabulary=False),
}


def traits_of(dialect: str) -> DialectTraits:
    """Return the properties of a dialect.

    Raises:
        InputError: If there is no such dialect.

    Example:

    >>> traits_of("hash").has_vocabulary
    False
    """
    if dialect not in _TRAITS:
        raise InputError(f"dialect is {dialect}, expected one of {', '.join(_TRAITS)}")
    return _TRAITS[dialect]
