"""Which ids of a data set mean what they meant in a data set that it extends."""

from pathlib import Path

import numpy as np
import polars as pl

from tfdlrm.base import storage
from tfdlrm.data.dialects import traits_of
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents
from tfdlrm.data.vocabulary_files import read_history


def carried_ids(
    directory: Path, schema: FeatureSchema, meaning: str
) -> dict[str, np.ndarray] | None:
    """Return which ids of an earlier data set still have their value.

    Args:
        directory: The directory that holds `vocabulary/` of a data set or a model.
        schema: Its schema.
        meaning: Fingerprint of the meaning of the earlier data set's ids, as a run or a
            model that was trained on it has it.

    Returns:
        For each categorical column a bool array with an element for each id of the
        earlier data set. An id whose value was forgotten is False, also after another
        value has taken it; reserved ids are True. `None` if the data set extends none
        with that meaning.

    Raises:
        InputError: If a vocabulary is missing, damaged, or does not fit the schema.
    """
    schema = with_contents(schema, directory)
    features = schema.categorical_features
    if Meaning.of(schema).fingerprint == meaning:
        return {
            feature.name: np.ones(feature.vocabulary_size, bool) for feature in features
        }
    # If several have it, whatever happened between them left the meaning as it was.
    numbers = [
        number for number, link in enumerate(schema.chain) if link.meaning == meaning
    ]
    if not numbers:
        return None
    number = numbers[-1]
    carried = {}
    for feature in features:
        num_ids = schema.chain[number].num_ids[feature.name]
        carried[feature.name] = np.ones(num_ids, bool)
        if traits_of(schema.dialect).has_vocabulary:
            history = _history(directory, schema, feature)
            has_value = history["value"].is_not_null()
            is_carried = (has_value & (history["since"] <= number)).to_numpy()
            first_id = len(schema.reserved_ids)
            carried[feature.name][first_id:] = is_carried[: num_ids - first_id]
    return carried


def unseen_ids(directory: Path, schema: FeatureSchema) -> dict[str, np.ndarray]:
    """Return which ids of a data set belong to values that its own log did not have.

    Args:
        directory: The directory that holds `vocabulary/` of a data set or a model.
        schema: Its schema.

    Returns:
        For each categorical column a bool array with an element for each id. An id is
        True if its value has it from an earlier data set, and none of the rows that
        this one counted had the value; ids of no value are False.

    Raises:
        InputError: If a vocabulary is missing, damaged, or does not fit the schema.
    """
    unseen = {}
    last_day = last_day_of(schema)
    for feature in schema.categorical_features:
        unseen[feature.name] = np.zeros(feature.vocabulary_size, bool)
        if schema.chain and traits_of(schema.dialect).has_vocabulary:
            history = _history(directory, schema, feature)
            is_unseen = history["value"].is_not_null() & (
                history["last_day"] < last_day
            )
            unseen[feature.name][len(schema.reserved_ids) :] = is_unseen.to_numpy()
    return unseen


def last_day_of(schema: FeatureSchema) -> int:
    """Return the number of the last day of a data set, counted through its chain.

    Example:

    >>> last_day_of(FeatureSchema((), (), days=7))
    6
    """
    return sum(link.days for link in schema.chain) + (schema.days or 1) - 1


def _history(
    directory: Path, schema: FeatureSchema, feature: CategoricalFeature
) -> pl.DataFrame:
    num_values = feature.vocabulary_size - len(schema.reserved_ids)
    sha256 = schema.vocabularies.get(feature.name)
    return read_history(storage.at(directory), feature.name, num_values, sha256)
