"""The YAML file that describes the columns of a log, read strictly."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

import yaml

from pipelines.logs.columns import (
    Columns,
    DaysBy,
    Format,
    Negative,
    Quote,
    TimeUnit,
    Transform,
)
from pipelines.logs.value_texts import with_floats
from pipelines.logs.values import TIME_KEY
from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.base.piped_input import refuse_pipe

_SEPARATORS = {"csv": ",", "tsv": "\t"}
_TEXT_TAG = "tag:yaml.org,2002:str"
_NAMES_IN_RECORDS = ("label", "dense_features", "categorical_features")


def load_columns(path: Path) -> Columns:
    """Read a description of columns; docs/own_data.md says what it holds.

    Args:
        path: A YAML file.

    Returns:
        The columns.

    Raises:
        InputError: If the file cannot be read, has an unknown key, a duplicate name,
            no label or no feature, or a value that cannot be used.
    """
    refuse_pipe("columns", path)
    try:
        described = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"{path} cannot be read: {reason}; expected a YAML file that describes the "
            "columns of a log"
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # a number too long, no date, no text
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is not YAML: {reason}") from None
    return _Reader(path).columns(described)


class _UniqueKeys(yaml.SafeLoader):
    """Refuses two equal keys, of which YAML keeps the last without a word.

    The values of `missing` are taken as they are written: `null` or `-1` is a text.
    """

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                line = node.value[position][0].start_mark.line + 1
                raise yaml.YAMLError(f"line {line}: the key {key!r} is there twice")
            if key == "missing":
                self._keep_as_written(node.value[position][1])
        return super().construct_mapping(node, deep)

    def _keep_as_written(self, node: Any) -> None:
        items = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for item in items:
            if isinstance(item, yaml.ScalarNode):
                item.tag = _TEXT_TAG


class _Reader:
    """Reads one file strictly; `where` in messages is the key at hand."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._missing: dict[str, tuple[str, ...]] = {}

    def columns(self, described: Any) -> Columns:
        keys = ("format", "separator", "names", "missing", "label", "dense")
        more = ("categorical", "split", "quote", "escape")
        top = self._mapping(described, "", (*keys, *more), needed=("label",))
        form: Format = self._choice(
            top.get("format", "csv"), "format", get_args(Format)
        )
        label, positive, negative = self._label(top["label"])
        dense = [self._dense(each, n) for n, each in self._listed(top, "dense")]
        categorical = [
            self._categorical(each, n, form)
            for n, each in self._listed(top, "categorical")
        ]
        if not dense and not categorical:
            self._refuse(
                "dense", "names no feature, nor does categorical", "one or more"
            )
        multi_hot = [each for each in categorical if each[1]]
        days_by = self._split(top.get("split"))
        columns = Columns(
            label=label,
            dense_features=tuple(name for name, _ in dense),
            single_hot=tuple(name for name, is_bag, _ in categorical if not is_bag),
            multi_hot=tuple(name for name, _, _ in multi_hot),
            positive=positive,
            untransformed=tuple(name for name, how in dense if how == "none"),
            separators=tuple(separator for _, _, separator in multi_hot),
            format=form,
            separator=self._separator(top, form),
            names=self._names(top, form),
            days_by=days_by,
            quote=self._quote(top, form),
            escape=self._escape(top, form),
            negative=negative,
            floats_as_integers=True,
        )
        self._check_names(columns)
        read = [label, *columns.features, *([days_by.name] if days_by else [])]
        missing = self._missing_by_column(top, read)
        for name in set(missing).intersection(columns.categorical_features):
            missing[name] = with_floats(missing[name])
        return replace(columns, missing=missing)

    def _label(self, value: Any) -> tuple[str, str | None, Negative]:
        if isinstance(value, str):
            return self._text(value, "label"), None, ()
        known = ("name", "positive", "negative", "missing")
        entry = self._mapping(value, "label", known, needed=("name",))
        name = self._text(entry["name"], "label.name")
        self._note_missing(name, entry, "label")
        positive, negative = entry.get("positive"), entry.get("negative")
        if positive is not None:
            positive = self._label_value(positive, "label.positive")
        if negative is None:
            return name, positive, ()
        if positive is None:
            self._refuse("label.negative", "is given without positive", "both")
        if negative == "others":
            return name, positive, "others"
        listed = negative if isinstance(negative, list) else [negative]
        texts = tuple(self._label_value(each, "label.negative") for each in listed)
        if not texts or positive in texts:
            expected = "one or more other values than positive, or others"
            self._refuse("label.negative", f"is {negative!r}", expected)
        return name, positive, texts

    def _label_value(self, value: Any, key: str) -> str:
        # What YAML reads as true may be written yes in the files, or True.
        return self._text(str(value) if type(value) is int else value, key)

    def _note_missing(self, name: str, entry: Mapping[str, Any], key: str) -> None:
        """Keep a column's own spellings of a missing value, if it has any."""
        if "missing" in entry:
            self._missing[name] = self._spellings(entry, f"{key}.missing")

    def _missing_by_column(
        self, top: Mapping[str, Any], names: Iterable[str]
    ) -> dict[str, tuple[str, ...]]:
        """The spellings of every column: its own, else those of all."""
        of_all = self._spellings(top, "missing") if "missing" in top else ()
        found = {name: self._missing.get(name, of_all) for name in names}
        return {name: spellings for name, spellings in found.items() if spellings}

    def _spellings(self, entry: Mapping[str, Any], key: str) -> tuple[str, ...]:
        value = entry["missing"]
        listed = value if isinstance(value, list) else [value]
        if not all(isinstance(each, str) for each in listed):
            self._refuse(key, f"is {value!r}", "a list of texts, such as [NA, null]")
        return tuple(dict.fromkeys(each for each in listed if each))

    def _dense(self, value: Any, key: str) -> tuple[str, Transform]:
        if isinstance(value, str):
            return self._text(value, key), "log1p"
        known = ("name", "transform", "missing")
        entry = self._mapping(value, key, known, needed=("name",))
        how = entry.get("transform", "log1p")
        transform = self._choice(how, f"{key}.transform", get_args(Transform))
        name = self._text(entry["name"], f"{key}.name")
        self._note_missing(name, entry, key)
        return name, transform

    def _categorical(
        self, value: Any, key: str, form: Format
    ) -> tuple[str, bool, str | None]:
        """Name, whether it is multi-hot, and what separates its values."""
        if isinstance(value, str):
            return self._text(value, key), False, None
        keys = ("name", "separator", "multi_hot", "missing")
        entry = self._mapping(value, key, keys, needed=("name",))
        name = self._text(entry["name"], f"{key}.name")
        self._note_missing(name, entry, key)
        separator = entry.get("separator")
        if separator is not None:
            separator = self._text(separator, f"{key}.separator")
        is_bag = entry.get("multi_hot", separator is not None)
        if not isinstance(is_bag, bool) or (separator is not None and not is_bag):
            self._refuse(f"{key}.multi_hot", f"is {is_bag!r}", "true with a separator")
        if is_bag and separator is None and form != "parquet":
            self._refuse(key, "is multi-hot and has no separator", "one, such as '|'")
        return name, is_bag, separator

    def _split(self, value: Any) -> DaysBy | None:
        if value is None:
            return None
        entry = self._mapping(value, "split", ("day", "time", "unit"))
        if ("day" in entry) == ("time" in entry):
            self._refuse(
                "split", f"is {value!r}", "either day or time, a column's name"
            )
        kind: Literal["day", "time"] = "time" if "time" in entry else "day"
        if "unit" in entry and kind == "day":
            self._refuse("split.unit", "is given for a day", "it with time only")
        unit = self._choice(entry.get("unit", "s"), "split.unit", get_args(TimeUnit))
        return DaysBy(self._text(entry[kind], f"split.{kind}"), kind, unit)

    def _separator(self, top: Mapping[str, Any], form: Format) -> str:
        given = top.get("separator")
        if given is None:
            return _SEPARATORS.get(form, "")
        if form == "parquet":
            self._refuse("separator", f"is {given!r}", "none for parquet")
        if not isinstance(given, str) or len(given) != 1 or not given.isascii():
            self._refuse("separator", f"is {given!r}", "one ASCII character")
        if given in '"\r\n':
            self._refuse("separator", f"is {given!r}", "no quote or line end")
        return given

    def _quote(self, top: Mapping[str, Any], form: Format) -> Quote | None:
        if "quote" not in top:
            return None
        if form == "parquet":
            self._refuse("quote", "is given", "none for parquet, which has no quotes")
        quote: Quote = self._choice(top["quote"], "quote", get_args(Quote))
        if quote == top.get("separator"):
            self._refuse("quote", "is the separator too", "two characters")
        return quote

    def _escape(self, top: Mapping[str, Any], form: Format) -> str | None:
        escape = top.get("escape", "none")
        if escape == "none":
            return None
        if form == "parquet":
            self._refuse("escape", f"is {escape!r}", "none for parquet")
        is_character = isinstance(escape, str) and len(escape) == 1
        if not is_character or not escape.isascii() or escape.isalnum():
            expected = "none, or one ASCII character that is no letter or digit"
            self._refuse("escape", f"is {escape!r}", expected)
        if escape in ('"', "\r", "\n", self._separator(top, form)):
            self._refuse("escape", f"is {escape!r}", "no quote, separator or line end")
        return str(escape)

    def _names(self, top: Mapping[str, Any], form: Format) -> tuple[str, ...] | None:
        if "names" not in top:
            return None
        if form == "parquet":
            self._refuse("names", "is given", "none for parquet, which has its own")
        return tuple(
            self._text(value, key) for key, value in self._listed(top, "names")
        )

    def _check_names(self, columns: Columns) -> None:
        used = [columns.label, *columns.features]
        for group in (used, columns.names or ()):
            seen = set()
            for name in group:
                if name in seen:
                    self._refuse(name, "is named twice", "every column once")
                seen.add(name)
        days_by = columns.days_by
        if columns.names is not None:
            for name in chain(used, [days_by.name] if days_by else []):
                if name not in columns.names:
                    hint = did_you_mean(name, columns.names)
                    self._refuse(
                        "names", f"lacks {name}", f"every column of the files{hint}"
                    )
        for name in used:
            if name == TIME_KEY or (name in _NAMES_IN_RECORDS and name != used[0]):
                self._refuse(
                    name,
                    "cannot be the name of a feature",
                    f"none of {', '.join((*_NAMES_IN_RECORDS, TIME_KEY))}",
                )

    def _listed(self, top: Mapping[str, Any], key: str) -> Iterable[tuple[str, Any]]:
        values = top.get(key)
        if values is None:
            return []
        if not isinstance(values, list):
            self._refuse(key, f"is {values!r}", "a list")
        return [(f"{key}[{position}]", each) for position, each in enumerate(values)]

    def _mapping(
        self,
        value: Any,
        key: str,
        known: tuple[str, ...],
        needed: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        expected = f"a mapping of {', '.join(known)}"
        if not isinstance(value, dict):
            self._refuse(key, f"is {value!r}", expected)
        for each in value:
            if each not in known:
                hint = did_you_mean(str(each), known)
                self._refuse(_join(key, str(each)), "is unknown", expected + hint)
        for each in needed:
            if value.get(each) is None:
                self._refuse(_join(key, each), "is missing", expected)
        return value

    def _choice(self, value: Any, key: str, choices: tuple[str, ...]) -> Any:
        if value not in choices:
            hint = did_you_mean(str(value), choices)
            self._refuse(key, f"is {value!r}", f"one of {', '.join(choices)}{hint}")
        return value

    def _text(self, value: Any, key: str) -> str:
        if not isinstance(value, str) or not value:
            self._refuse(key, f"is {value!r}", "text; put it in quotes")
        return value

    def _refuse(self, key: str, problem: str, expected: str) -> NoReturn:
        place = f"{self._path}: {key}" if key else f"{self._path}"
        raise InputError(f"{place} {problem}, expected {expected}")


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
