"""The columns whose values Spark counts, and the frames that hold their counts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.ids.counting import EARLIER
from pipelines.ids.dialect import Dialect
from pipelines.ids.earlier import Earlier, EarlierColumn
from pipelines.ids.forgotten import forgotten_path
from pipelines.logs.columns import Columns
from pipelines.stages.building import Building
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.rare_values import rare_values_path


@dataclass(frozen=True)
class Values:
    """The columns whose values are counted and numbered.

    Args:
        names: The columns.
        is_text: Whether values are text; 32-bit numbers otherwise.
        dialect: Numbers the values.
        directory: The data set directory.
        work: Directory for temporary files.
        earlier: The same columns in what the data set extends; empty if it does not.
    """

    names: tuple[str, ...]
    is_text: bool
    dialect: Dialect
    directory: Path
    work: Path
    earlier: tuple[EarlierColumn, ...] = ()

    @classmethod
    def of(
        cls,
        columns: Columns,
        dialect: Dialect,
        building: Building,
        earlier: Earlier | None,
        days: int,
        forget_days: int | None,
    ) -> "Values":
        """Return the categorical columns of a log.

        Args:
            columns: The columns of the log.
            dialect: Numbers the values.
            building: The directories to write to.
            earlier: What the data set extends.
            days: Number of days of the log.
            forget_days: Values that the last days do not have are forgotten.
        """
        names = columns.categorical_features
        return cls(
            names,
            not columns.is_criteo,
            dialect,
            building.directory,
            building.work,
            tuple(earlier.column(name, days, forget_days) for name in names)
            if earlier
            else (),
        )

    @property
    def columns(self) -> dict[str, str]:
        """The columns of counts, and their types in Spark."""
        types = {
            "column": "int",
            "value": "string" if self.is_text else "long",
            "frequency": "long",
            "first": "long",
        }
        return types | dict.fromkeys(EARLIER if self.earlier else (), "int")

    @property
    def spark_schema(self) -> str:
        """The columns of counts, as Spark describes them."""
        return ", ".join(f"{name} {dtype}" for name, dtype in self.columns.items())

    def typed(self, counts: pl.DataFrame) -> pl.DataFrame:
        """Return counts from Spark with values of their own type."""
        value_type = pl.String if self.is_text else pl.UInt32
        return counts.with_columns(pl.col("value").cast(value_type))

    @property
    def no_counts(self) -> pl.DataFrame:
        """Counts of no value."""
        types = {"int": pl.Int32, "long": pl.Int64, "string": pl.String}
        columns = {name: types[dtype] for name, dtype in self.columns.items()}
        return self.typed(pl.DataFrame(schema=columns))

    @property
    def no_rare_values(self) -> pl.DataFrame:
        """Counts of no value, with the columns of a file of rare values."""
        names = ["value", "frequency", *EARLIER[2:]]
        return self.no_counts.select(n for n in names if n in self.columns)

    @property
    def last_forgotten_day(self) -> int | None:
        """Values that no later day has are forgotten."""
        return self.earlier[0].last_forgotten_day if self.earlier else None

    def paths(self, name: str) -> list[Path]:
        """Return the files of a column, which are written."""
        paths = [
            vocabulary_path(self.directory, name),
            rare_values_path(self.directory, name),
            forgotten_path(self.work, name),
        ]
        return [path for path in paths if path.exists()]

    def batch(self, counts: pl.DataFrame, column: int) -> Any:
        """Return the counts of a column as a batch for Spark."""
        import pyarrow as pa

        types = {"int": pa.int32(), "long": pa.int64(), "string": pa.string()}
        schema = pa.schema([(n, types[dtype]) for n, dtype in self.columns.items()])
        counts = counts.with_columns(pl.lit(column).alias("column"))
        # Not `to_batches`, which returns no batch where there are no rows.
        chunks = counts.select(schema.names).to_arrow().cast(schema).columns
        arrays = [chunked.combine_chunks() for chunked in chunks]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)
