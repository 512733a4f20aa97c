"""The vocabularies of a data set as tables of a served graph."""

from pathlib import Path

import polars as pl

from tfdlrm.data.column_files import file_name
from tfdlrm.data.dialects import traits_of
from tfdlrm.data.schema import UNKNOWN_ID, CategoricalFeature, FeatureSchema
from tfdlrm.data.vocabulary_files import read_vocabulary
from tfdlrm.exporting.vocabulary_tables import VocabularyTable


def vocabulary_tables(
    schema: FeatureSchema, directory: Path, work: Path
) -> tuple[list[VocabularyTable | None], list[str]]:
    """Return the table and the most frequent value of each categorical feature.

    Args:
        schema: Schema of the data set.
        directory: The directory that holds `vocabulary/`, if the dialect has one.
        work: Directory for temporary files, until the SavedModel is written.

    Returns:
        A table for each feature, `None` without a vocabulary; and a text for each,
        blank without a vocabulary.

    Raises:
        InputError: If a vocabulary cannot be read.
    """
    tables: list[VocabularyTable | None] = []
    categories = []
    for feature in schema.categorical_features:
        if not traits_of(schema.dialect).has_vocabulary:
            tables.append(None)
            categories.append("")
            continue
        vocabulary = _read_vocabulary(schema, feature, directory)
        tables.append(_table(schema, feature, vocabulary, work))
        categories.append(_most_frequent(vocabulary))
    return tables, categories


def _read_vocabulary(
    schema: FeatureSchema, feature: CategoricalFeature, directory: Path
) -> pl.DataFrame:
    num_values = feature.vocabulary_size - len(schema.reserved_ids)
    checksum = schema.vocabularies.get(feature.name)
    return read_vocabulary(directory, feature.name, num_values, checksum).sort("id")


def _table(
    schema: FeatureSchema,
    feature: CategoricalFeature,
    vocabulary: pl.DataFrame,
    work: Path,
) -> VocabularyTable:
    values = vocabulary["value"]
    path = work / file_name(feature.name)
    traits, unknown_id = traits_of(schema.dialect), UNKNOWN_ID
    if traits.missing_is_zero:
        ids_of_zero = vocabulary["id"].filter(values == 0)
        unknown_id = ids_of_zero[0] if len(ids_of_zero) else 0
    return VocabularyTable(
        values.alias(feature.name), traits.first_id, unknown_id, path
    )


def _most_frequent(vocabulary: pl.DataFrame) -> str:
    values = vocabulary.drop_nulls("value").top_k(1, by="frequency")["value"]
    if values.is_empty():
        return ""
    return values[0] if values.dtype == pl.String else f"{values[0]:08x}"
