"""Checks of the settings of preparing for the numbers of Criteo's format."""

from pathlib import Path
from typing import Protocol

from tfdlrm.base.errors import InputError, require
from tfdlrm.base.transform_names import (
    BUCKETS,
    DENSE_TRANSFORMS,
    expected_transform,
    parse_transform,
)
from tfdlrm.data.dialects import traits_of

NUMBER_SETTINGS = {
    "dense_transform": None,
    "dense_buckets": None,
    "missing_flags": False,
}
"""The settings, and their defaults."""


class NumberSettings(Protocol):
    """Settings of preparing, as far as they are checked here."""

    @property
    def dialect(self) -> str | None: ...
    @property
    def columns(self) -> Path | None: ...


def check_number_settings(config: NumberSettings) -> None:
    """Refuse settings that cannot be used, or that belong into a description.

    Raises:
        InputError: If there is one.
    """
    for name, choices in (
        ("dense_transform", DENSE_TRANSFORMS),
        ("dense_buckets", BUCKETS),
    ):
        value = getattr(config, name)
        if value is not None:
            is_known = parse_transform(value, choices) is not None
            require(is_known, name, value, expected_transform(choices))
    for name, default in NUMBER_SETTINGS.items():
        value = getattr(config, name)
        if value == default:
            continue
        if config.columns is not None:
            raise InputError(
                f"{name} is {value}, but {config.columns} describes the columns: leave "
                f"{name} out, and describe transforms, buckets and flags there"
            )
        dialect = config.dialect
        if dialect is not None and not traits_of(dialect).has_number_settings:
            raise InputError(
                f"{name} is {value}, but the {dialect} dialect has no such choice: "
                f"leave {name} out, or give another --dialect"
            )
