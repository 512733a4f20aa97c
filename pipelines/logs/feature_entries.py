"""The entries of features in a description of columns, read strictly."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pipelines.logs.columns import Recipe
from pipelines.logs.strict_yaml import StrictYaml
from tfdlrm.base.transform_names import (
    BUCKETS,
    DENSE_TRANSFORMS,
    MAX_QUANTILES,
    MISSING_SUFFIX,
)

_OLD_NAMES = {"log1p": "log"}
_LARGEST = 3.4e38
_PLAIN = ("log", "none")
"""Transforms that need no recipe where a feature has the name of its column."""

KeepMissing = Callable[[str, Mapping[str, Any], str], None]


@dataclass(frozen=True)
class DescribedFeature:
    """A feature as it is described.

    Args:
        name: Its name.
        recipe: How it is read from a column of numbers; `None` if as any other column
            of its name.
        is_untransformed: Whether a dense feature without a recipe stays as it is.
        is_bag: Whether a row may have several values.
        separator: The separator of these in text.
    """

    name: str
    recipe: Recipe | None = None
    is_untransformed: bool = False
    is_bag: bool = False
    separator: str | None = None


class FeatureEntries:
    """Reads the entries under `dense` and `categorical`.

    Args:
        file: The description.
        is_parquet: Whether the files of the log are in Parquet.
        keep_missing: Takes the name of a column, an entry with its own spellings of a
            missing value, and the entry's key.
    """

    def __init__(
        self, file: StrictYaml, is_parquet: bool, keep_missing: KeepMissing
    ) -> None:
        self._file, self._is_parquet = file, is_parquet
        self._keep_missing = keep_missing

    def dense(self, value: Any, key: str) -> list[DescribedFeature]:
        """Return the features that an entry describes: one, and perhaps its flag."""
        file = self._file
        if isinstance(value, str):
            return [DescribedFeature(file.text(value, key))]
        keys = ("name", "column", "transform", "clip", "missing_flag", "missing")
        entry = file.mapping(value, key, keys, required=("name",))
        name, column = self._names(entry, key)
        transform = self._transform(entry.get("transform", "log"), f"{key}.transform")
        clip = self._clip(entry, key)
        recipe = _recipe(column, transform, clip)
        feature = DescribedFeature(name, recipe)
        if name == column and clip is None and transform["name"] in _PLAIN:
            is_untransformed = transform["name"] == "none"
            feature = DescribedFeature(name, None, is_untransformed)
        has_flag = entry.get("missing_flag", False)
        if not isinstance(has_flag, bool):
            file.refuse(f"{key}.missing_flag", f"is {has_flag!r}", "true or false")
        flag = DescribedFeature(f"{name}{MISSING_SUFFIX}", missing_flag(column))
        return [feature, flag] if has_flag else [feature]

    def categorical(self, value: Any, key: str) -> DescribedFeature:
        """Return the feature that an entry describes."""
        file = self._file
        if isinstance(value, str):
            return DescribedFeature(file.text(value, key))
        keys = ("name", "separator", "multi_hot", "missing", "column", "buckets")
        entry = file.mapping(value, key, (*keys, "clip"), required=("name",))
        if "buckets" in entry:
            return self._buckets(entry, key)
        for number_key in ("column", "clip"):
            if number_key in entry:
                expected = "buckets too, such as log2_squared, or {quantiles: 20}"
                file.refuse(f"{key}.{number_key}", "is without buckets", expected)
        name = file.text(entry["name"], f"{key}.name")
        self._keep_missing(name, entry, key)
        separator = entry.get("separator")
        if separator is not None:
            separator = file.text(separator, f"{key}.separator")
        is_bag = entry.get("multi_hot", separator is not None)
        if not isinstance(is_bag, bool) or (separator is not None and not is_bag):
            file.refuse(f"{key}.multi_hot", f"is {is_bag!r}", "true with a separator")
        if is_bag and separator is None and not self._is_parquet:
            file.refuse(key, "is multi-hot and has no separator", "one, such as '|'")
        return DescribedFeature(name, is_bag=is_bag, separator=separator)

    def _buckets(self, entry: Mapping[str, Any], key: str) -> DescribedFeature:
        for bag_key in ("separator", "multi_hot"):
            if bag_key in entry:
                expected = "one number a row, without it"
                self._file.refuse(f"{key}.{bag_key}", "is given with buckets", expected)
        name, column = self._names(entry, key)
        buckets = self._named(entry["buckets"], f"{key}.buckets", BUCKETS)
        return DescribedFeature(name, _recipe(column, buckets, self._clip(entry, key)))

    def _names(self, entry: Mapping[str, Any], key: str) -> tuple[str, str]:
        """Return the names of a feature and of the column that it is read from."""
        name = self._file.text(entry["name"], f"{key}.name")
        column = self._file.text(entry.get("column", name), f"{key}.column")
        self._keep_missing(column, entry, key)
        return name, column

    def _transform(self, value: Any, key: str) -> dict[str, Any]:
        if value == "clip" or (isinstance(value, dict) and "clip" in value):
            expected = "clip: [LOWEST, HIGHEST] next to transform, which it goes before"
            self._file.refuse(key, f"is {value!r}", expected)
        if isinstance(value, str):
            value = _OLD_NAMES.get(value, value)
        return self._named(value, key, DENSE_TRANSFORMS)

    def _named(self, value: Any, key: str, choices: tuple[str, ...]) -> dict[str, Any]:
        """Return a transform by its name, or by a mapping with a number."""
        file = self._file
        if isinstance(value, dict):
            entry = file.mapping(value, key, ("quantiles",), required=("quantiles",))
            number = entry["quantiles"]
            if type(number) is not int or not 2 <= number <= MAX_QUANTILES:
                expected = f"a whole number from 2 to {MAX_QUANTILES:,}"
                file.refuse(f"{key}.quantiles", f"is {number!r}", expected)
            return {"name": "quantiles", "quantiles": number}
        if value == "quantiles":
            file.refuse(key, "is 'quantiles'", "their number: {quantiles: 20}")
        if value not in choices:
            expected = f"one of {', '.join(choices)}, {{quantiles: 20}}"
            file.refuse(key, f"is {value!r}", expected)
        return {"name": value}

    def _clip(self, entry: Mapping[str, Any], key: str) -> list[float | None] | None:
        value = entry.get("clip")
        if value is None and "clip" not in entry:
            return None
        is_pair = isinstance(value, list) and len(value) == 2
        limits = [_as_number(limit) for limit in value or ()] if is_pair else []
        numbers = [limit for limit in limits if limit is not None]
        is_good = bool(numbers) and all(map(_is_limit, numbers))
        if not is_good or (len(numbers) == 2 and numbers[0] >= numbers[1]):
            expected = "[LOWEST, HIGHEST], two ascending numbers, one of them or null"
            self._file.refuse(f"{key}.clip", f"is {value!r}", expected)
        return [None if limit is None else float(limit) for limit in limits]


def missing_flag(column: str) -> Recipe:
    """Return the recipe of the feature that says whether a column has no number."""
    return _recipe(column, {"name": "is_missing"}, None)


def _recipe(
    column: str, transform: dict[str, Any], clip: list[float | None] | None
) -> Recipe:
    recipe: dict[str, Any] = {"column": column, "transform": transform}
    return recipe if clip is None else {**recipe, "clip": clip}


def _as_number(value: Any) -> Any:
    """Return a text such as `1e6`, which is no number to YAML 1.1, as the number."""
    if isinstance(value, str):
        with suppress(ValueError):
            return float(value)
    return value


def _is_limit(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= _LARGEST


def recipes_of(features: Iterable[DescribedFeature]) -> dict[str, Recipe]:
    """Return the recipes of the features that have one, by their names."""
    return {
        feature.name: feature.recipe
        for feature in features
        if feature.recipe is not None
    }
