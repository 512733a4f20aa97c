"""The YAML file that describes the columns of a log, read strictly."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from pipelines.logs.columns import (
    NUMBER,
    Columns,
    DaysBy,
    Format,
    Negative,
    Quote,
    TimeUnit,
)
from pipelines.logs.feature_entries import FeatureEntries, recipes_of
from pipelines.logs.strict_yaml import StrictYaml
from pipelines.logs.value_texts import with_floats
from pipelines.logs.values import TIME_KEY
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.base.piped_input import refuse_pipe

_KEYS = (
    *("format", "separator", "names", "missing", "label", "dense"),
    *("categorical", "split", "quote", "escape"),
)
_SEPARATORS = {"csv": ",", "tsv": "\t"}
_NAMES_IN_RECORDS = ("label", "dense_features", "categorical_features")


def load_columns(path: Path) -> Columns:
    """Read a description of columns; docs/own_data.md says what it holds.

    Args:
        path: A YAML file.

    Raises:
        InputError: If the file cannot be read, has an unknown key, a duplicate name,
            no label or no feature, or a value that cannot be used.
    """
    refuse_pipe("columns", path)
    expected = "a YAML file that describes the columns of a log"
    return _ColumnsFile(StrictYaml(path, expected)).columns()


def columns_of(description: Any, title: str) -> Columns:
    """Read a description that is no file, with the keys of one.

    Args:
        description: Dictionaries and lists, as a YAML file would hold them.
        title: What it is, for messages.

    Raises:
        InputError: As for `load_columns`.
    """
    return _ColumnsFile(StrictYaml.of_contents(description, title)).columns()


class _ColumnsFile:
    """Read the columns from one file."""

    def __init__(self, file: StrictYaml) -> None:
        self._file = file
        self._missing: dict[str, tuple[str, ...]] = {}

    def columns(self) -> Columns:
        file = self._file
        top = file.mapping(file.contents, "", _KEYS, required=("label",))
        formats = get_args(Format)
        file_format: Format = file.choice(top.get("format", "csv"), "format", formats)
        label, positive, negative = self._label(top["label"])
        entries = FeatureEntries(file, file_format == "parquet", self._keep_missing)
        dense = [
            feature
            for key, value in file.items(top, "dense")
            for feature in entries.dense(value, key)
        ]
        categorical = [
            entries.categorical(value, key)
            for key, value in file.items(top, "categorical")
        ]
        if not dense and not categorical:
            file.refuse(
                "dense", "names no feature, nor does categorical", "one or more"
            )
        multi_hot = [feature for feature in categorical if feature.is_bag]
        days_by = self._split(top.get("split"))
        style = _FileStyle(file, top, file_format)
        columns = Columns(
            label=label,
            dense_features=tuple(feature.name for feature in dense),
            single_hot=tuple(f.name for f in categorical if not f.is_bag),
            multi_hot=tuple(feature.name for feature in multi_hot),
            positive=positive,
            untransformed=tuple(f.name for f in dense if f.is_untransformed),
            separators=tuple(feature.separator for feature in multi_hot),
            format=file_format,
            separator=style.separator(),
            names=style.names(),
            days_by=days_by,
            quote=style.quote(),
            escape=style.escape(),
            negative=negative,
            floats_as_integers=True,
            recipes=recipes_of([*dense, *categorical]),
        )
        self._check_names(columns)
        self._check_number_columns(columns)
        raw_columns = [label, *columns.raw_columns]
        raw_columns += [days_by.name] if days_by else []
        missing = self._missing_by_column(top, raw_columns)
        for name in set(missing).intersection(columns.categorical_values):
            missing[name] = with_floats(missing[name])
        return replace(columns, missing=missing)

    def _label(self, value: Any) -> tuple[str, str | None, Negative]:
        """Return the label's name, and the texts that mean 1 and 0."""
        file = self._file
        if isinstance(value, str):
            return file.text(value, "label"), None, ()
        keys = ("name", "positive", "negative", "missing")
        entry = file.mapping(value, "label", keys, required=("name",))
        name = file.text(entry["name"], "label.name")
        self._keep_missing(name, entry, "label")
        positive, negative = entry.get("positive"), entry.get("negative")
        if positive is not None:
            positive = self._label_value(positive, "label.positive")
        if negative is None:
            return name, positive, ()
        if positive is None:
            file.refuse("label.negative", "is given without positive", "both")
        if negative == "others":
            return name, positive, "others"
        values = negative if isinstance(negative, list) else [negative]
        texts = tuple(self._label_value(value, "label.negative") for value in values)
        if not texts or positive in texts:
            expected = "one or more other values than positive, or others"
            file.refuse("label.negative", f"is {negative!r}", expected)
        return name, positive, texts

    def _label_value(self, value: Any, key: str) -> str:
        # A value that YAML reads as true may be written yes in the files, or True.
        return self._file.text(str(value) if type(value) is int else value, key)

    def _keep_missing(self, name: str, entry: Mapping[str, Any], key: str) -> None:
        """Keep a column's own spellings of a missing value, if it has any."""
        if "missing" not in entry:
            return
        spellings = self._spellings(entry, f"{key}.missing")
        if self._missing.setdefault(name, spellings) != spellings:
            expected = f"{list(self._missing[name])}, as another entry with column"
            problem = f"is {list(spellings)}"
            self._file.refuse(f"{key}.missing", problem, f"{expected} {name} has it")

    def _missing_by_column(
        self, top: Mapping[str, Any], names: Iterable[str]
    ) -> dict[str, tuple[str, ...]]:
        """Return the spellings of every column: its own, else those for all."""
        default = self._spellings(top, "missing") if "missing" in top else ()
        missing = {name: self._missing.get(name, default) for name in names}
        return {name: spellings for name, spellings in missing.items() if spellings}

    def _spellings(self, entry: Mapping[str, Any], key: str) -> tuple[str, ...]:
        value = entry["missing"]
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) for text in texts):
            self._file.refuse(
                key, f"is {value!r}", "a list of texts, such as [NA, null]"
            )
        return tuple(dict.fromkeys(text for text in texts if text))

    def _split(self, value: Any) -> DaysBy | None:
        if value is None:
            return None
        file = self._file
        entry = file.mapping(value, "split", ("day", "time", "unit"))
        if ("day" in entry) == ("time" in entry):
            expected = "either day or time, a column's name"
            file.refuse("split", f"is {value!r}", expected)
        key: Literal["day", "time"] = "time" if "time" in entry else "day"
        if "unit" in entry and key == "day":
            file.refuse("split.unit", "is given for a day", "it with time only")
        unit = file.choice(entry.get("unit", "s"), "split.unit", get_args(TimeUnit))
        return DaysBy(file.text(entry[key], f"split.{key}"), key, unit)

    def _check_names(self, columns: Columns) -> None:
        refuse = self._file.refuse
        used = [columns.label, *columns.features]
        for names in (used, columns.names or ()):
            for index, name in enumerate(names):
                if name in names[:index]:
                    more = ""
                    if name in columns.recipes:
                        more = ": give the second feature another name, and `column`"
                    refuse(name, "is named twice", f"every column once{more}")
        days_by = columns.days_by
        if columns.names is not None:
            raw_columns = [columns.label, *columns.raw_columns]
            for name in chain(raw_columns, [days_by.name] if days_by else []):
                if name not in columns.names:
                    hint = did_you_mean(name, columns.names)
                    refuse("names", f"lacks {name}", f"every column of the files{hint}")
        for name in used:
            if name == TIME_KEY or (name in _NAMES_IN_RECORDS and name != used[0]):
                reserved = ", ".join((*_NAMES_IN_RECORDS, TIME_KEY))
                problem = "cannot be the name of a feature"
                refuse(name, problem, f"none of {reserved}")

    def _check_number_columns(self, columns: Columns) -> None:
        """Refuse a column that would be read in two ways, or under two meanings."""
        refuse = self._file.refuse
        for name, recipe in columns.recipes.items():
            column = recipe["column"]
            if NUMBER + column in (columns.label, *columns.features):
                reserved = NUMBER + column
                problem = f"cannot be the name of a column where {column} has features"
                refuse(reserved, problem, "another name")
            if column == columns.label:
                refuse(name, f"is read from {column}, the label", "another column")
            if column in columns.categorical_values:
                problem = f"is read from {column}, which is under categorical as text"
                refuse(name, problem, "a column of numbers, or buckets for both")
            if column != name and name in columns.number_columns:
                problem = "is the name of a feature, and of a column that another reads"
                refuse(name, problem, "another name for the feature")


class _FileStyle:
    """Read how the files of a log are written."""

    def __init__(
        self, file: StrictYaml, top: Mapping[str, Any], file_format: Format
    ) -> None:
        self._file, self._top, self._format = file, top, file_format

    def separator(self) -> str:
        separator = self._top.get("separator")
        if separator is None:
            return _SEPARATORS.get(self._format, "")
        problem = f"is {separator!r}"
        if self._format == "parquet":
            self._file.refuse("separator", problem, "none for parquet")
        if not _is_character(separator):
            self._file.refuse("separator", problem, "one ASCII character")
        if separator in '"\r\n':
            self._file.refuse("separator", problem, "no quote or line end")
        return str(separator)

    def quote(self) -> Quote | None:
        if "quote" not in self._top:
            return None
        if self._format == "parquet":
            expected = "none for parquet, which has no quotes"
            self._file.refuse("quote", "is given", expected)
        quote: Quote = self._file.choice(self._top["quote"], "quote", get_args(Quote))
        if quote == self._top.get("separator"):
            self._file.refuse("quote", "is the separator too", "two characters")
        return quote

    def escape(self) -> str | None:
        escape = self._top.get("escape", "none")
        if escape == "none":
            return None
        problem = f"is {escape!r}"
        if self._format == "parquet":
            self._file.refuse("escape", problem, "none for parquet")
        if not _is_character(escape) or escape.isalnum():
            expected = "none, or one ASCII character that is no letter or digit"
            self._file.refuse("escape", problem, expected)
        if escape in ('"', "\r", "\n", self.separator()):
            self._file.refuse("escape", problem, "no quote, separator or line end")
        return str(escape)

    def names(self) -> tuple[str, ...] | None:
        if "names" not in self._top:
            return None
        if self._format == "parquet":
            expected = "none for parquet, which has its own"
            self._file.refuse("names", "is given", expected)
        items = self._file.items(self._top, "names")
        return tuple(self._file.text(value, key) for key, value in items)


def _is_character(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 1 and value.isascii()
