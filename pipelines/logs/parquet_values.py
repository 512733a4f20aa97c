"""Convert columns of a Parquet file to types that Polars and the pipelines know."""

from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc


def as_frame(rows: Any) -> pl.DataFrame:
    """Return Arrow rows as a frame that means the same as a log in text.

    The empty text and a float that is no number become null. Times are in UTC, and
    lists of a fixed size become ordinary lists.

    Args:
        rows: A record batch or a table.

    Raises:
        pl.exceptions.PolarsError: If Polars knows no such type.
    """
    arrays = [_known_type(rows.column(index)) for index in range(rows.num_columns)]
    # Polars takes names such as `^a$` and `*` for patterns.
    numbered = [str(number) for number in range(len(arrays))]
    frame = pl.DataFrame(pa.table(arrays, names=numbered))
    frame = frame.select(
        _empty_as_null(pl.col(name), dtype).alias(name)
        for name, dtype in frame.schema.items()
    )
    frame.columns = rows.schema.names
    return frame


def as_stored(array: Any, name: str) -> pl.Series:
    """Return an Arrow array as a series of its own type, if Polars has that."""
    arrow_type = array.type
    is_time = pa.types.is_timestamp(arrow_type)
    if is_time and arrow_type.tz is not None and arrow_type.tz[:1] in "+-":
        # Polars has no time zones such as +05:30; the instants are the same.
        array = array.cast(pa.timestamp(arrow_type.unit, "UTC"))
    if pa.types.is_decimal256(arrow_type):
        array = _known_type(array)
    return pl.DataFrame(pa.table([array], names=[name])).to_series()


def _known_type(array: Any) -> Any:
    """Return an Arrow array in a type that Polars has."""
    arrow_type = array.type
    if pa.types.is_timestamp(arrow_type) and arrow_type.tz is not None:
        # Polars has no time zones such as +05:30; the instants are the same.
        return array.cast(pa.int64()).cast(pa.timestamp(arrow_type.unit))
    if pa.types.is_date64(arrow_type):
        return array.cast(pa.date32())
    if pa.types.is_decimal256(arrow_type):
        text = array.cast(pa.string())
        # Take off the zeros at the end, as for decimals that Polars has.
        if arrow_type.scale <= 0:
            return text
        return pc.replace_substring_regex(  # type: ignore[attr-defined]
            text, r"\.?0+$", ""
        )
    return array


def _empty_as_null(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
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
