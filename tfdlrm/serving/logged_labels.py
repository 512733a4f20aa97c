"""Labels that are known later than the requests whose rows they belong to."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean


@dataclass(frozen=True)
class Labels:
    """Labels by the values of some columns, all as text.

    Args:
        table: The columns, and the label; rows have a label and one of the values.
        label: Name of the label.
    """

    table: pl.DataFrame
    label: str

    @property
    def keys(self) -> list[str]:
        """Names of the columns whose values say which rows a label is for."""
        return [name for name in self.table.columns if name != self.label]

    @classmethod
    def read(cls, path: Path, label: str) -> "Labels":
        """Read a CSV or Parquet file.

        Args:
            path: The file; a name that ends in `.parquet` stands for Parquet.
            label: Name of the label's column.

        Raises:
            InputError: If the file cannot be read, has no column of this name or no
                other one, or has two labels for the same values.
        """
        try:
            if path.suffix.lower() == ".parquet":
                table = pl.read_parquet(path, glob=False)
            else:
                table = pl.read_csv(path, infer_schema=False, glob=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"{path} cannot be read: {reason}; expected a CSV or Parquet file of "
                "labels"
            ) from None
        if label not in table.columns or len(table.columns) < 2:
            names = ", ".join(table.columns)
            is_alone = label in table.columns
            hint = "" if is_alone else did_you_mean(label, table.columns)
            raise InputError(
                f"{path} has the columns {names}, expected the label {label} and one "
                f"or more columns that say which rows it is for{hint}"
            )
        labels = cls(_as_text(table, path), label)
        labels._refuse_repeated(path)
        has_value = pl.any_horizontal(pl.col(labels.keys).is_not_null())
        known = labels.table.filter(has_value, pl.col(label).is_not_null())
        return cls(known, label)

    def _refuse_repeated(self, path: Path) -> None:
        is_repeated = self.table.select(self.keys).is_duplicated()
        if is_repeated.any():
            row = self.table.select(self.keys).filter(is_repeated).row(0, named=True)
            values = ", ".join(f"{name} {value!r}" for name, value in row.items())
            raise InputError(
                f"{path} has several labels for {values}, expected one: add a column "
                "that tells the rows apart, or keep one of them"
            )

    def join(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that have a label, with it, in their order.

        Missing values are equal, but rows that lack all values have no label.
        """
        return frame.drop(self.label, strict=False).join(
            self.table, on=self.keys, nulls_equal=True, maintain_order="left"
        )


def _as_text(table: pl.DataFrame, path: Path) -> pl.DataFrame:
    for name, dtype in table.schema.items():
        is_simple = dtype.is_integer() or dtype in (pl.String, pl.Boolean, pl.Date)
        if not (is_simple or dtype == pl.Categorical):
            raise InputError(
                f"{path}: column {name} is of type {dtype}, expected text, integers, "
                "booleans or dates"
            )
    return table.cast(pl.String)
