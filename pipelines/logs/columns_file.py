"""The YAML file that describes the columns of a log, read strictly."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from pipelines.logs.columns import (
    Columns,
    DaysBy,
    Format,
    Negative,
    Quote,
    TimeUnit,
    Transform,
)
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
        dense = [self._dense(value, key) for key, value in file.items(top, "dense")]
        categorical = [
            self._categorical(value, key, file_format)
            for key, value in file.items(top, "categorical")
        ]
        if not dense and not categorical:
            file.refuse(
                "dense", "names no feature, nor does categorical", "one or more"
            )
        multi_hot = [column for column in categorical if column[1]]
        days_by = self._split(top.get("split"))
        style = _FileStyle(file, top, file_format)
        columns = Columns(
            label=label,
            dense_features=tuple(name for name, _ in dense),
            single_hot=tuple(name for name, is_bag, _ in categorical if not is_bag),
            multi_hot=tuple(name for name, _, _ in multi_hot),
            positive=positive,
            untransformed=tuple(
                name for name, transform in dense if transform == "none"
            ),
            separators=tuple(separator for _, _, separator in multi_hot),
            format=file_format,
            separator=style.separator(),
            names=style.names(),
            days_by=days_by,
            quote=style.quote(),
            escape=style.escape(),
            negative=negative,
            floats_as_integers=True,
        )
        self._check_names(columns)
        read_names = [label, *columns.features, *([days_by.name] if days_by else [])]
        missing = self._missing_by_column(top, read_names)
        for name in set(missing).intersection(columns.categorical_features):
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
        if "missing" in entry:
            self._missing[name] = self._spellings(entry, f"{key}.missing")

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

    def _dense(self, value: Any, key: str) -> tuple[str, Transform]:
        file = self._file
        if isinstance(value, str):
            return file.text(value, key), "log1p"
        keys = ("name", "transform", "missing")
        entry = file.mapping(value, key, keys, required=("name",))
        transform = file.choice(
            entry.get("transform", "log1p"), f"{key}.transform", get_args(Transform)
        )
        name = file.text(entry["name"], f"{key}.name")
        self._keep_missing(name, entry, key)
        return name, transform

    def _categorical(
        self, value: Any, key: str, file_format: Format
    ) -> tuple[str, bool, str | None]:
        """Return the name, whether it is multi-hot, and the separator of its values."""
        file = self._file
        if isinstance(value, str):
            return file.text(value, key), False, None
        keys = ("name", "separator", "multi_hot", "missing")
        entry = file.mapping(value, key, keys, required=("name",))
        name = file.text(entry["name"], f"{key}.name")
        self._keep_missing(name, entry, key)
        separator = entry.get("separator")
        if separator is not None:
            separator = file.text(separator, f"{key}.separator")
        is_bag = entry.get("multi_hot", separator is not None)
        if not isinstance(is_bag, bool) or (separator is not None and not is_bag):
            file.refuse(f"{key}.multi_hot", f"is {is_bag!r}", "true with a separator")
        if is_bag and separator is None and file_format != "parquet":
            file.refuse(key, "is multi-hot and has no separator", "one, such as '|'")
        return name, is_bag, separator

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
                    refuse(name, "is named twice", "every column once")
        days_by = columns.days_by
        if columns.names is not None:
            for name in chain(used, [days_by.name] if days_by else []):
                if name not in columns.names:
                    hint = did_you_mean(name, columns.names)
                    refuse("names", f"lacks {name}", f"every column of the files{hint}")
        for name in used:
            if name == TIME_KEY or (name in _NAMES_IN_RECORDS and name != used[0]):
                reserved = ", ".join((*_NAMES_IN_RECORDS, TIME_KEY))
                problem = "cannot be the name of a feature"
                refuse(name, problem, f"none of {reserved}")


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
