"""Settings of a data set that extends another: taken from there, or refused."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.ids.dialects import dialect_of
from pipelines.ids.earlier import Earlier
from pipelines.ids.number_values import columns_of
from pipelines.logs.columns import Columns, Recipe
from pipelines.logs.columns_file import load_columns
from pipelines.stages.criteo_columns import criteo_columns
from tfdlrm.base import storage
from tfdlrm.base.checksums import unseal
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.config.number_settings import NUMBER_SETTINGS
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.dialects import traits_of
from tfdlrm.data.exported_model import (
    EXTRA_DIRECTORY,
    MANIFEST_NAME,
    schema_directory,
)
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.meaning_differences import differences, summarize
from tfdlrm.data.rare_values import rare_values_path
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents

_SETTINGS = ("dialect", "min_frequency", "max_index_range", "hash_buckets")
"""Settings that decide which ids values have, and so must stay as they are."""


def require_apart(output: Path, extend: Path) -> None:
    """Refuse an output that is what is extended, or lies in it.

    Raises:
        InputError: If it is or does.
    """
    output, extend = storage.at(output), storage.at(extend)
    if storage.is_remote(output) != storage.is_remote(extend):
        return
    if output.resolve().is_relative_to(extend.resolve()):
        raise InputError(
            f"output {output} is what extend names, or lies in it, and would change "
            "it: give a path outside of it"
        )


def open_earlier(path: Path) -> Earlier:
    """Read the schema of the data set or the exported model that is to be extended.

    Args:
        path: A data set, a version of a model, or the directory of its versions, of
            which the newest counts; local or remote.

    Raises:
        InputError: If it is none of these, or is damaged.
    """
    try:
        directory = schema_directory(path)
        if directory is None:
            raise InputError(
                f"extend is {path}, expected a data set directory with schema.json, or "
                f"an exported model with {EXTRA_DIRECTORY}/schema.json"
            )
        schema = FeatureSchema.load(directory)
        schema = with_contents(_with_manifest(schema, directory), directory)
    except OSError as error:
        raise InputError(
            f"extend is {path}, which cannot be read: {error.strerror or error}; "
            "expected a data set or an exported model"
        ) from None
    for feature in schema.categorical_features:
        has_vocabulary = traits_of(schema.dialect).has_vocabulary
        if has_vocabulary and feature.name not in schema.vocabulary_contents:
            raise InputError(
                f"{vocabulary_path(directory, feature.name)} is missing, expected the "
                f"vocabulary of {feature.name}: without it nothing can be extended"
            )
    return Earlier(directory, schema)


def _with_manifest(schema: FeatureSchema, directory: Path) -> FeatureSchema:
    """Return the schema of an exported model with the checksums of its manifest."""
    manifest = directory / MANIFEST_NAME
    if not manifest.is_file():
        return schema
    try:
        files = unseal(manifest.read_text(encoding="utf-8"))["files"]
        checksums = {name: entry["sha256"] for name, entry in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{manifest} is damaged ({reason}): copy or export the model again"
        ) from None

    def in_manifest(path: Path) -> str | None:
        name = f"{EXTRA_DIRECTORY}/{path.parent.name}/{path.name}"
        return checksums.get(name)

    vocabularies, rare_values = {}, {}
    for feature in schema.categorical_features:
        name = feature.name
        if checksum := in_manifest(vocabulary_path(directory, name)):
            vocabularies[name] = checksum
        if checksum := in_manifest(rare_values_path(directory, name)):
            rare_values[name] = checksum
    return replace(schema, vocabularies=vocabularies, rare_values=rare_values)


def extended_settings(config: PrepareConfig, earlier: Earlier) -> PrepareConfig:
    """Return the settings with those that must agree, from what is extended.

    Raises:
        InputError: If a setting, or the description of the columns, is another one.
    """
    schema = earlier.schema
    for name in _SETTINGS:
        value, expected = getattr(config, name), getattr(schema, name)
        if value is not None and value != expected:
            raise InputError(
                f"{name} is {value}, but what extend names was prepared with "
                f"{json.dumps(expected)}, and ids would not stay: leave {name} out"
            )
    settings: dict[str, Any] = {name: getattr(schema, name) for name in _SETTINGS}
    config = replace(config, **settings)
    if config.columns is not None:
        _require_same_columns(config, load_columns(config.columns), schema)
    _require_same_numbers(config, schema)
    return config


def extended_columns(columns: Columns | None, earlier: Earlier) -> Columns:
    """Return the columns of a log that extends another.

    Args:
        columns: Their description; `None` takes that of what is extended.
        earlier: What is extended.
    """
    before = columns_of(earlier.schema)
    if columns is None or before.is_criteo:
        return before
    return replace(columns, negative=columns.negative or before.negative)


def counts_from_zero(earlier: Earlier) -> bool:
    """Return whether the rare values of what is extended were not kept."""
    schema = earlier.schema
    return dialect_of(schema).keeps_rare_values and not all(
        feature.name in schema.rare_values
        or rare_values_path(earlier.directory, feature.name).is_file()
        for feature in schema.categorical_features
    )


def _require_same_columns(
    config: PrepareConfig, columns: Columns, schema: FeatureSchema
) -> None:
    """Refuse a description of other columns than those of what is extended."""
    sizes = {
        feature.name: feature.vocabulary_size for feature in schema.categorical_features
    }
    features = tuple(
        CategoricalFeature(name, sizes.get(name, 0), name in columns.multi_hot)
        for name in columns.categorical_features
    )
    described = replace(
        schema,
        label=columns.label,
        dense_features=columns.dense_features,
        categorical_features=features,
        untransformed=columns.untransformed,
        columns=columns.to_json(),
    )
    texts = differences(Meaning.of(schema), Meaning.of(described))
    texts += recipe_differences(columns_of(schema).recipes, columns.recipes)
    if texts:
        raise InputError(
            f"columns is {config.columns}, which describes another log than what "
            f"extend names: {summarize(texts)} (there: what is extended, here: "
            f"{config.columns}); leave columns out, or describe the same"
        )


def _require_same_numbers(config: PrepareConfig, schema: FeatureSchema) -> None:
    """Refuse settings of numbers that are not those of what is extended."""
    names = [
        name
        for name, default in NUMBER_SETTINGS.items()
        if getattr(config, name) != default
    ]
    if not names:
        return
    texts = ["its columns are described"]
    if schema.columns is None:
        before, columns = columns_of(schema), criteo_columns(config)
        texts = recipe_differences(before.recipes, columns.recipes)
        if before.untransformed != columns.untransformed:
            texts.append("dense_transform: none in one of them only")
    if texts:
        raise InputError(
            f"{names[0]} is {getattr(config, names[0])}, but what extend names was "
            f"prepared otherwise ({summarize(texts)}; there: what is extended, here: "
            f"the settings): leave {' and '.join(names)} out"
        )


def recipe_differences(
    there: Mapping[str, Recipe], here: Mapping[str, Recipe]
) -> list[str]:
    """Return the differences of the features of numbers of two logs, in words."""
    return [
        f"feature {name}: {_in_words(there.get(name))} there, "
        f"{_in_words(here.get(name))} here"
        for name in dict.fromkeys([*there, *here])
        if there.get(name) != here.get(name)
    ]


def _in_words(recipe: Recipe | None) -> str:
    if recipe is None:
        return "nothing of its own"
    transform = {**recipe["transform"]}
    name = transform.pop("name")
    numbers = "".join(f" {number}" for number in transform.values())
    clip = f", clip {recipe['clip']}" if "clip" in recipe else ""
    return f"{name}{numbers} of {recipe['column']}{clip}"
