"""A log of collected rows, in the format that a model's data set was prepared from."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from pipelines.ids.number_values import columns_of
from pipelines.logs.columns import Columns
from pipelines.logs.scored_rows import SCORE
from pipelines.logs.text_style import TextStyle
from tfdlrm.base.errors import InputError
from tfdlrm.data.exported_model import schema_directory
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.serving.logged_rows import TIME


def columns_of_model(path: Path) -> Columns:
    """Return the columns of the log that a model was trained on.

    Args:
        path: A version, or the directory of a model's versions.

    Raises:
        InputError: If it has no schema.
    """
    try:
        directory = schema_directory(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    if directory is None:
        raise InputError(
            f"{path} holds no model of this project, expected a directory such as "
            "saved_models/dlrm/1"
        )
    return columns_of(FeatureSchema.load(directory))


@dataclass(frozen=True)
class LogFormat:
    """How collected rows are written.

    Args:
        columns: The columns of the log.
        has_labels: Whether the rows have labels.
    """

    columns: Columns
    has_labels: bool

    def check(self, output: Path) -> None:
        """Refuse an output of another format than the log's.

        Raises:
            InputError: If it is one, or a column has the name of the probabilities.
        """
        is_parquet = self.columns.format == "parquet"
        if is_parquet != (output.suffix.lower() == ".parquet"):
            what = "Parquet" if is_parquet else f"text ({self.columns.format})"
            raise InputError(
                f"output_file is {output}, and the model's log is {what}: expected a "
                f"name that {'ends' if is_parquet else 'does not end'} in .parquet"
            )
        if self.has_head and SCORE in self.names:
            raise InputError(
                f"the model's log has a column {SCORE!r}, which collected rows have "
                "too: expected another name"
            )

    @property
    def has_head(self) -> bool:
        """Whether the log begins with the names of its columns."""
        return self.columns.names is None

    @property
    def style(self) -> TextStyle:
        """How text is written."""
        columns = self.columns
        escape = None if columns.escape is None else columns.escape.encode()
        return TextStyle(columns.separator.encode(), columns.quote_mark, escape)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that are written, in order."""
        columns, training = self.columns, self._training_names
        if columns.names is None:
            return tuple(dict.fromkeys((*training, *columns.raw_columns)))
        left_out = set() if self.has_labels else {columns.label, self._day}
        left_out -= set(columns.raw_columns)
        return tuple(name for name in columns.names if name not in left_out)

    def series(self, frame: pl.DataFrame) -> list[pl.Series]:
        """Return the columns to write of some rows."""
        frame = frame.with_columns(
            pl.lit(None, pl.String).alias(name)
            for name in self.names
            if name not in frame.columns
        )
        days_by = self.columns.days_by
        if days_by is not None and self._day not in self.columns.raw_columns:
            width = 10 if days_by.kind == "day" else None
            time = pl.col(TIME).str.slice(0, width).alias(days_by.name)
            frame = frame.with_columns(time)
        return [frame[name] for name in self.names]

    @property
    def _day(self) -> str | None:
        days_by = self.columns.days_by
        return None if days_by is None else days_by.name

    @property
    def _training_names(self) -> list[str]:
        """Columns that training needs next to the features."""
        names = [self.columns.label, self._day] if self.has_labels else []
        return [name for name in names if name is not None]
