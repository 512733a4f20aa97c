"""What a user says of the columns of a frame, with the keys of `columns.yaml`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.logs.columns import Columns
from pipelines.logs.columns_file import columns_of
from pipelines.logs.strict_yaml import StrictYaml
from tfdlrm.base.errors import InputError
from tfdlrm.frames.inference import InferredColumn, describe_columns, infer
from tfdlrm.frames.named_columns import NamedColumns
from tfdlrm.frames.typed_rows import arrow_columns

DEFAULT_LABEL = "label"

TITLE = "columns"
"""How messages name a description that is no file."""

_FILE_STYLE = ("separator", "names", "quote", "escape")
"""Keys that say how text files are written."""


def read_description(
    columns: "Mapping[str, Any] | str | Path | None", label: Any
) -> dict[str, Any] | None:
    """Return the description that a user gives, as a dictionary.

    Args:
        columns: A dictionary with the keys of `columns.yaml`, or the path of such a
            file; `None` leaves the features to `complete`.
        label: The entry `label` of the description; `None` if `columns` has it.

    Returns:
        The description, with a label; `None` if `columns` is `None`.

    Raises:
        InputError: If the description cannot be used.
    """
    if columns is None:
        return None
    description: Any
    if isinstance(columns, str | Path):
        expected = "a YAML file that describes the columns of a log"
        description = StrictYaml(Path(columns), expected).contents
        title = str(columns)
    else:
        description, title = _as_yaml(columns), TITLE
        if isinstance(description, dict):
            description.setdefault("format", "parquet")  # which has lists
    if isinstance(description, dict):
        _set_label(description, label, title)
    columns_of(description, title)
    return description


def complete(
    description: dict[str, Any] | None, label: Any, frame: NamedColumns
) -> tuple[dict[str, Any], list[InferredColumn]]:
    """Return a description of all features, and what was inferred.

    Args:
        description: What `read_description` returned.
        label: As for `read_description`.
        frame: The frame by which to infer what is not described.

    Raises:
        InputError: If the features cannot be inferred.
    """
    if description is not None:
        return description, []
    inferred_description: dict[str, Any] = {"format": "parquet"}
    _set_label(inferred_description, label, TITLE)
    name = name_of_label(inferred_description)
    names = [other for other in frame.all_names() if other != name]
    if not names:
        raise InputError(
            f"the frame has no column except a label, {name!r}, expected features"
        )
    inferred = infer(arrow_columns(frame, names))
    inferred_description |= describe_columns(inferred)
    columns_of(inferred_description, TITLE)
    return inferred_description, inferred


def columns_from(description: Mapping[str, Any]) -> Columns:
    """Return the columns that a complete description names."""
    return columns_of(dict(description), TITLE)


def in_parquet(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description of the same columns in a Parquet file."""
    return {
        key: value for key, value in description.items() if key not in _FILE_STYLE
    } | {"format": "parquet"}


def name_of_label(description: Mapping[str, Any]) -> str:
    """Return the name of the label's column."""
    label = description["label"]
    return str(label["name"] if isinstance(label, Mapping) else label)


def _set_label(description: dict[str, Any], label: Any, title: str) -> None:
    label = _as_yaml(label)
    described = description.get("label")
    if described is None:
        description["label"] = DEFAULT_LABEL if label is None else label
    elif label is not None and label != described:
        raise InputError(
            f"label is {label!r}, and {title} has the label {described!r}: give one of "
            "the two"
        )


def _as_yaml(value: Any, is_missing: bool = False) -> Any:
    """Return Python's values as a YAML file would hold them: lists, texts, numbers.

    Args:
        value: A part of a description.
        is_missing: Whether it spells missing values, which a file holds as text.
    """
    if isinstance(value, Mapping):
        return {
            name: _as_yaml(part, is_missing=name == "missing")
            for name, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [_as_yaml(part, is_missing) for part in value]
    if isinstance(value, str):
        return str(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_missing and is_number else value
