"""Criteo's columns, with the features of numbers that settings ask for."""

from dataclasses import replace

from pipelines.logs.columns import Columns, Recipe
from pipelines.logs.feature_entries import missing_flag
from tfdlrm.base.transform_names import (
    BUCKET_SUFFIX,
    BUCKETS,
    DENSE_TRANSFORMS,
    MISSING_SUFFIX,
    parse_transform,
)
from tfdlrm.config import PrepareConfig


def criteo_columns(config: PrepareConfig) -> Columns:
    """Return Criteo's columns, with the features that settings ask for.

    Args:
        config: Settings, of which `dense_transform`, `dense_buckets` and
            `missing_flags` are used.

    Example:

    >>> columns = criteo_columns(PrepareConfig(dense_buckets="log2_squared"))
    >>> columns.recipes["I1_bucket"]
    {'column': 'I1', 'transform': {'name': 'log2_squared'}}
    """
    columns = Columns.criteo()
    numbers = columns.dense_features
    recipes: dict[str, Recipe] = {}
    transform = parse_transform(config.dense_transform or "log", DENSE_TRANSFORMS)
    is_plain = transform in ({"name": "log"}, {"name": "none"})
    if not is_plain:
        recipes |= {name: {"column": name, "transform": transform} for name in numbers}
    dense = numbers
    if config.missing_flags:
        recipes |= {name + MISSING_SUFFIX: missing_flag(name) for name in numbers}
        dense = tuple(n for name in numbers for n in (name, name + MISSING_SUFFIX))
    buckets: tuple[str, ...] = ()
    if config.dense_buckets is not None:
        bucket = parse_transform(config.dense_buckets, BUCKETS)
        buckets = tuple(name + BUCKET_SUFFIX for name in numbers)
        recipes |= {
            feature: {"column": name, "transform": bucket}
            for feature, name in zip(buckets, numbers, strict=True)
        }
    return replace(
        columns,
        dense_features=dense,
        single_hot=columns.single_hot + buckets,
        untransformed=numbers if transform == {"name": "none"} else (),
        recipes=recipes,
    )
