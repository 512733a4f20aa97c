"""Criteo's columns, and the expression that reads each of them."""

import polars as pl
from polars.selectors import by_name

LABEL = "label"
DENSE_FEATURES = tuple(f"I{number}" for number in range(1, 14))
CATEGORICAL_FEATURES = tuple(f"C{number}" for number in range(1, 27))


def column_names(labelled: bool) -> tuple[str, ...]:
    """Return the columns of a raw file, in file order.

    Args:
        labelled: Whether rows begin with the label; Criteo's `test.txt` has none.

    Returns:
        40 names with the label, 39 without.

    Example:

    >>> column_names(labelled=True)[:3]
    ('label', 'I1', 'I2')
    """
    label = (LABEL,) if labelled else ()
    return label + DENSE_FEATURES + CATEGORICAL_FEATURES


def raw_schema(labelled: bool) -> dict[str, type[pl.DataType]]:
    """Return the type of each raw column: integers for dense ones, text for others."""
    return {
        name: pl.Int64 if name in DENSE_FEATURES else pl.String
        for name in column_names(labelled)
    }


def label_value() -> pl.Expr:
    """Return the label's text as 0 or 1; null for anything else, such as `01`."""
    text = pl.col(LABEL)
    return pl.when(text.is_in(["0", "1"])).then(text == "1").cast(pl.UInt8).alias(LABEL)


def categorical_value(name: str) -> pl.Expr:
    """Return the hexadecimal text of a category as a 32-bit number.

    A field that is no such number becomes null, as an empty field is. A hash of 0 stays
    0, so that it differs from an empty field.
    """
    return pl.col(name).str.to_integer(base=16, dtype=pl.UInt32, strict=False)


def dense_value(name: str) -> pl.Expr:
    """Return `log(x + 1)` of an integer column; missing and negative counts are 0.

    Example:

    >>> frame = pl.DataFrame({"I1": [None, -3, 0, 1]}, schema={"I1": pl.Int64})
    >>> [round(x, 4) for x in frame.select(dense_value("I1"))["I1"]]
    [0.0, 0.0, 0.0, 0.6931]
    """
    count = by_name(name).fill_null(0).clip(lower_bound=0)
    return count.cast(pl.Float64).log1p().cast(pl.Float32)


def features(frame: pl.DataFrame) -> pl.DataFrame:
    """Apply `dense_value` to the dense columns of `frame`; other columns stay."""
    return frame.with_columns(dense_value(name) for name in DENSE_FEATURES)
