"""What the columns of a log are, and how its files are written."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

import polars as pl
from polars.selectors import by_name

from pipelines.logs import criteo

Format = Literal["csv", "tsv", "parquet"]
Transform = Literal["log1p", "none"]
Quote = Literal["none", '"']
TimeUnit = Literal["s", "ms", "us", "ns"]
Negative = tuple[str, ...] | Literal["others"]


@dataclass(frozen=True)
class DaysBy:
    """The column whose value tells on which day a row was logged.

    Args:
        name: Its name.
        kind: `day`, an integer or an ISO date; or `time`, a number since an epoch or
            an ISO time.
        unit: What numbers of a `time` count: seconds, milliseconds, microseconds or
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
        multi_hot: Names of those with any number of values a row.
        positive: The label's text that means 1; `None` where it is 0 or 1, or true or
            false, already.
        negative: The texts that mean 0, all others being bad; or `others` where any
            other text does. Empty leaves it to the log, which may have one.
        untransformed: The dense features that are taken as they are, not by `log1p`.
        separators: For each multi-hot column what stands between its values, or `None`
            where they come as a list.
        format: How the files are written; `criteo` is Criteo's own way.
        separator: What stands between the columns of `csv` and `tsv`.
        quote: What values of text may be written in, or `none`; `None` means a double
            quote for `csv`, and for `tsv` only where the head line is in quotes.
        escape: What takes its meaning from a separator, quote, line end or escape that
            follows it in text; `None` where there is no such thing.
        names: All columns of the files in order, where no header line tells them.
        days_by: The column that defines the split; `None` splits by file order.
        missing: For each column of the files that spells a missing value in words, such
            as `NA`, these spellings. Nothing at all is missing in any case.
        floats_as_integers: Whether the category `7.0` is the same as `7`, since pandas
            writes integers so. Data sets of earlier versions distinguish the two.

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

    @cached_property
    def categorical_features(self) -> tuple[str, ...]:
        """All categorical columns in the order of the schema: multi-hot ones last."""
        return self.single_hot + self.multi_hot

    @property
    def features(self) -> tuple[str, ...]:
        """All columns that a model takes."""
        return self.dense_features + self.categorical_features

    @property
    def quote_mark(self) -> bytes | None:
        """What values of text may be written in, as far as the description says."""
        if self.quote is None:
            return b'"' if self.format == "csv" else None
        return None if self.quote == "none" else self.quote.encode()

    @property
    def is_criteo(self) -> bool:
        """Whether these are Criteo's files, which need no description."""
        return self.format == "criteo"

    def transformed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` with its dense columns as a model takes them."""
        return frame.with_columns(
            self._dense_value(name) for name in self.dense_features
        )

    def _dense_value(self, name: str) -> pl.Expr:
        if name in self.untransformed:
            return by_name(name).fill_null(0).cast(pl.Float32)
        return criteo.dense_value(name)

    @classmethod
    def criteo(cls) -> "Columns":
        """Criteo's 40 columns."""
        return cls(
            label=criteo.LABEL,
            dense_features=criteo.DENSE_FEATURES,
            single_hot=criteo.CATEGORICAL_FEATURES,
            format="criteo",
            separator="\t",
            names=criteo.column_names(labelled=True),
        )

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads back, of types that JSON keeps."""
        described = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
        described["missing"] = {name: list(each) for name, each in self.missing.items()}
        # Descriptions of earlier versions do not have them, and mean the same.
        for name in ("escape", "negative", "missing", "floats_as_integers"):
            if not described[name]:
                del described[name]
        if self.quote is None and self.format != "tsv":
            del described["quote"]
        return described

    @classmethod
    def from_json(cls, described: Mapping[str, Any]) -> "Columns":
        """The columns that `to_json` wrote down."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in described.items()
        }
        if values["days_by"] is not None:
            values["days_by"] = DaysBy(**values["days_by"])
        if values["format"] == "tsv":
            values.setdefault("quote", '"')  # as earlier versions read it
        missing = values.get("missing", {})
        values["missing"] = {name: tuple(each) for name, each in missing.items()}
        return cls(**values)
