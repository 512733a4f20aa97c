"""The columns of a log, and how its files are written."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

import polars as pl
from polars.selectors import by_name

from pipelines.logs import criteo

Format = Literal["csv", "tsv", "parquet"]
Quote = Literal["none", '"']
TimeUnit = Literal["s", "ms", "us", "ns"]
Negative = tuple[str, ...] | Literal["others"]
Recipe = Mapping[str, Any]
"""A feature of a number column in types of JSON, before it is fitted; see
`tfdlrm.data.number_features.NumberFeature`."""

NUMBER = "/number/"
"""Begins the name that typed rows have for the numbers of a column, untransformed."""


@dataclass(frozen=True)
class DaysBy:
    """The column that holds the day on which a row was logged.

    Args:
        name: Name of the column.
        kind: `day`, an integer or an ISO date; or `time`, a number since an epoch or
            an ISO time.
        unit: Unit of the numbers of a `time`: seconds, milliseconds, microseconds or
            nanoseconds.
    """

    name: str
    kind: Literal["day", "time"]
    unit: TimeUnit = "s"


@dataclass(frozen=True)
class Columns:
    """The columns of a log and how its files are written.

    Args:
        label: Name of the label column.
        dense_features: Names of the continuous columns, in order.
        single_hot: Names of the categorical columns with one value a row.
        multi_hot: Names of the categorical columns with any number of values a row.
        positive: The label's text that means 1; `None` if labels are 0 or 1, or true or
            false.
        negative: The texts that mean 0; any other text is bad then. `others` if every
            other text means 0. Empty if the log may decide: it may have one such text.
        untransformed: The dense features that no `log1p` is applied to.
        separators: For each multi-hot column the separator of its values, or `None` if
            they come as a list.
        format: File format; `criteo` is that of Criteo's own files.
        separator: The separator of the columns of `csv` and `tsv`.
        quote: The mark around quoted values of text, or `none`; `None` means a double
            quote for `csv`, and for `tsv` only if the head line is in quotes.
        escape: The character that takes the meaning from a separator, quote, line end
            or escape after it; `None` if text has no escapes.
        names: All columns of the files in order, if the files have no head line.
        days_by: The column that defines the split; `None` splits by file order.
        missing: For each column of the files that spells a missing value in words, such
            as `NA`, these spellings. An empty value is always missing.
        floats_as_integers: Whether the category `7.0` is the same as `7`, since pandas
            writes integers so. Data sets of earlier versions distinguish the two.
        recipes: For each feature, dense or of buckets, that is read from a column of
            numbers in a way of its own, this way.

    Example:

    >>> columns = Columns.criteo()
    >>> columns.dense_features[:2], columns.categorical_features[-1]
    (('I1', 'I2'), 'C26')
    """

    label: str
    dense_features: tuple[str, ...]
    single_hot: tuple[str, ...]
    multi_hot: tuple[str, ...] = ()
    positive: str | None = None
    untransformed: tuple[str, ...] = ()
    separators: tuple[str | None, ...] = ()
    format: Format | Literal["criteo"] = "csv"
    separator: str = ","
    names: tuple[str, ...] | None = None
    days_by: DaysBy | None = None
    quote: Quote | None = None
    escape: str | None = None
    negative: Negative = ()
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    floats_as_integers: bool = False
    recipes: Mapping[str, Recipe] = field(default_factory=dict)

    @cached_property
    def categorical_features(self) -> tuple[str, ...]:
        """All categorical columns in the schema's order: multi-hot ones last."""
        return self.single_hot + self.multi_hot

    @property
    def features(self) -> tuple[str, ...]:
        """All columns that are inputs of a model."""
        return self.dense_features + self.categorical_features

    @cached_property
    def number_columns(self) -> tuple[str, ...]:
        """The columns of the files that are read as numbers, each once."""
        names = [
            self.recipes[name]["column"] if name in self.recipes else name
            for name in (*self.dense_features, *self.single_hot)
            if name in self.recipes or name in self.dense_features
        ]
        return tuple(dict.fromkeys(names))

    @cached_property
    def text_columns(self) -> tuple[str, ...]:
        """The columns of the files with one categorical value a row."""
        return tuple(name for name in self.single_hot if name not in self.recipes)

    @property
    def categorical_values(self) -> tuple[str, ...]:
        """The columns of the files that are read as categorical values."""
        return self.text_columns + self.multi_hot

    @property
    def raw_columns(self) -> tuple[str, ...]:
        """All columns of the files that features are read from."""
        return self.number_columns + self.categorical_values

    @property
    def quote_mark(self) -> bytes | None:
        """The mark around quoted values, as far as the description says."""
        if self.quote is None:
            return b'"' if self.format == "csv" else None
        return None if self.quote == "none" else self.quote.encode()

    @property
    def is_criteo(self) -> bool:
        """Whether these are Criteo's files, which need no description."""
        return self.format == "criteo"

    def transform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `frame` with its dense columns transformed for a model.

        Features with a recipe are left to `pipelines.ids.number_values`: the numbers of
        their columns are under `NUMBER` and the column's name.
        """
        if not self.recipes:
            return frame.with_columns(map(self._dense_value, self.dense_features))
        sources = dict.fromkeys(recipe["column"] for recipe in self.recipes.values())
        numbers = [
            frame[name].cast(pl.Float64).alias(NUMBER + name) for name in sources
        ]
        dense = [name for name in self.dense_features if name not in self.recipes]
        frame = frame.with_columns(map(self._dense_value, dense))
        kept = [name for name in frame.columns if name not in sources or name in dense]
        if not kept:  # such a frame would have no rows
            return pl.DataFrame(numbers)
        return frame.select(by_name(*kept)).hstack(numbers)

    def _dense_value(self, name: str) -> pl.Expr:
        if name in self.untransformed:
            return by_name(name).fill_null(0).cast(pl.Float32)
        return criteo.dense_value(name)

    @classmethod
    def criteo(cls) -> "Columns":
        """Return Criteo's 40 columns."""
        return cls(
            label=criteo.LABEL,
            dense_features=criteo.DENSE_FEATURES,
            single_hot=criteo.CATEGORICAL_FEATURES,
            format="criteo",
            separator="\t",
            names=criteo.column_names(labelled=True),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the same in types of JSON, which `from_json` reads."""
        fields = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
        fields["missing"] = {
            name: list(spellings) for name, spellings in self.missing.items()
        }
        # Earlier versions wrote none of these: left out, they mean the same.
        for name in ("escape", "negative", "missing", "floats_as_integers", "recipes"):
            if not fields[name]:
                del fields[name]
        if self.quote is None and self.format != "tsv":
            del fields["quote"]
        return fields

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Columns":
        """Read what `to_json` returned."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        if values["days_by"] is not None:
            values["days_by"] = DaysBy(**values["days_by"])
        if values["format"] == "tsv":
            values.setdefault("quote", '"')  # as earlier versions read it
        missing = values.get("missing", {})
        values["missing"] = {
            name: tuple(spellings) for name, spellings in missing.items()
        }
        return cls(**values)
