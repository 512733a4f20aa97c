"""What an encoder knows of its columns, once it has seen rows."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import polars as pl

from tfdlrm.data.dialects import traits_of
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.vocabulary_files import read_vocabulary
from tfdlrm.exporting.raw_rows import RawFeatures
from tfdlrm.frames.encoder_files import EncoderFiles
from tfdlrm.frames.inference import InferredColumn

_SPELLINGS = (("true", "false"), ("True", "False"), ("TRUE", "FALSE"))


@dataclass(frozen=True)
class Adapted:
    """What an encoder knows of its columns.

    Args:
        files: Its files.
        schema: The schema.
        features: The transforms and tables.
        description: The columns with the keys of `columns.yaml`, if there was a frame.
        inferred: What was inferred of columns that nothing described.
    """

    files: EncoderFiles
    schema: FeatureSchema
    features: RawFeatures
    description: dict[str, Any] | None
    inferred: tuple[InferredColumn, ...]

    @classmethod
    def of_files(
        cls,
        files: EncoderFiles,
        description: dict[str, Any] | None = None,
        inferred: tuple[InferredColumn, ...] = (),
    ) -> Self:
        """Read the schema and the tables from files."""
        with files.on_disk() as directory:
            schema = FeatureSchema.load(directory)
            features = RawFeatures.load(directory, schema)
        return cls(files, schema, features, description, inferred)

    @cached_property
    def booleans(self) -> dict[str, dict[str, str]]:
        """How values spell `true` and `false`, by column, where it is otherwise.

        Parquet and frames have no spelling, and count as `true`; a log in text may have
        `True` or `TRUE`.
        """
        columns = self.features.columns
        if columns.is_criteo or not traits_of(self.schema.dialect).has_vocabulary:
            return {}
        booleans = {}
        for name, table in zip(
            columns.categorical_features, self.features.tables, strict=True
        ):
            if name in columns.recipes:  # buckets of numbers
                continue
            for spelling in _SPELLINGS:
                values = pl.Series("value", list(spelling))
                if not table.are_unknown(values, table.ids(values)).all():
                    booleans[name] = dict(zip(_SPELLINGS[0], spelling, strict=True))
                    break
        return {
            name: new for name, new in booleans.items() if "true" not in new.values()
        }

    def vocabularies(self) -> dict[str, list[Any]]:
        """Return the values of each categorical column by id."""
        schema = self.schema
        values: dict[str, list[Any]] = {}
        if not traits_of(schema.dialect).has_vocabulary:
            return values
        with self.files.on_disk() as directory:
            for feature in schema.categorical_features:
                num_values = feature.vocabulary_size - len(schema.reserved_ids)
                vocabulary = read_vocabulary(directory, feature.name, num_values)
                by_id: list[Any] = [None] * feature.vocabulary_size
                for value, number, _ in vocabulary.iter_rows():
                    by_id[number] = value
                values[feature.name] = by_id
        return values
