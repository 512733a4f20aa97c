"""Columns of a Parquet file as Polars and the rest of the pipelines know them."""

from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc


def as_frame(rows: Any) -> pl.DataFrame:
    """Return Arrow rows as a frame that means the same as text would.

    Nothing is missing in three ways: null, the empty text, and a float that is no
    number. Times are in UTC, and a list is a list however many values it may have.

    Args:
        rows: A record batch or a table.

    Raises:
        pl.exceptions.PolarsError: If Polars knows no such type.
    """
    arrays = [_known(rows.column(index)) for index in range(rows.num_columns)]
    # Polars takes names such as `^a$` and `*` for patterns.
    numbered = [str(number) for number in range(len(arrays))]
    frame = pl.DataFrame(pa.table(arrays, names=numbered))
    frame = frame.select(
        _without_nothing(pl.col(name), dtype).alias(name)
        for name, dtype in frame.schema.items()
    )
    frame.columns = rows.schema.names
    return frame


def _known(array: Any) -> Any:
    """An Arrow array, in a type that Polars has if it has not this one."""
    kind = array.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        # Polars has no time zones such as +05:30; the instants are the same.
        return array.cast(pa.int64()).cast(pa.timestamp(kind.unit))
    if pa.types.is_date64(kind):
        return array.cast(pa.date32())
    if pa.types.is_decimal256(kind):
        text = array.cast(pa.string())
        # Without the zeros at its end, as decimals that Polars has.
        if kind.scale <= 0:
            return text
        return pc.replace_substring_regex(  # type: ignore[attr-defined]
            text, r"\.?0+$", ""
        )
    return array


def _without_nothing(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Array):
        column, dtype = column.arr.to_list(), pl.List(dtype.inner)
    if isinstance(dtype, pl.List):
        if dtype.inner.is_float():
            return column.list.eval(pl.element().fill_nan(None))
        return column
    if dtype.is_float():
        return column.fill_nan(None)
    if isinstance(dtype, (pl.Categorical, pl.Enum)):
        column, dtype = column.cast(pl.String), pl.String()
    if dtype == pl.String:
        return pl.when(column.str.len_bytes() > 0).then(column)
    if dtype == pl.Binary:
        return pl.when(column.bin.size() > 0).then(column)
    return column
