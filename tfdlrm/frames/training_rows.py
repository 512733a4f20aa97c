"""The rows of a frame as a log with its description, for `pipelines.prepare`."""

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import yaml

from tfdlrm.base.errors import InputError
from tfdlrm.frames.description import (
    DEFAULT_LABEL,
    columns_from,
    complete,
    in_parquet,
    name_of_label,
    read_description,
)
from tfdlrm.frames.inference import InferredColumn
from tfdlrm.frames.labels import Classes, read_label
from tfdlrm.frames.large_numbers import warn_of_large_numbers
from tfdlrm.frames.named_columns import NamedColumns
from tfdlrm.frames.typed_rows import RowReader, arrow_columns


@dataclass(frozen=True)
class TrainingRows:
    """Rows with labels.

    Args:
        table: The columns that training reads, as Arrow arrays.
        description: The columns with the keys of `columns.yaml`.
        inferred: What was inferred of columns that nothing described.
        classes: The classes of the label.
        feature_names: Names of all columns of the frame except the label.
    """

    table: pa.Table
    description: dict[str, Any]
    inferred: tuple[InferredColumn, ...]
    classes: Classes
    feature_names: tuple[str, ...]

    @classmethod
    def of(cls, frame: Any, target: Any, columns: Any, label: Any) -> Self:
        """Check a frame and its labels.

        Args:
            frame: The rows.
            target: Their labels; `None` if they are a column of the frame.
            columns: As for `FeatureEncoder`.
            label: As for `FeatureEncoder`.

        Raises:
            InputError: If the rows cannot be trained on.
        """
        named = NamedColumns(frame)
        if target is not None:
            label = _label_of(target, columns, label)
        read = read_description(columns, label)
        name = name_of_label(read or {"label": label or DEFAULT_LABEL})
        if target is None and name not in named:
            raise InputError(
                "DLRMClassifier requires y to be passed, but the target y is None, and "
                f"the frame has no column {name!r}: give fit(frame, y), or label, the "
                "name of the column"
            )
        if target is not None and name in named:
            raise InputError(
                f"y is given, and the frame has the label {name!r} too: drop the "
                "column, or leave y out"
            )
        description, inferred = complete(read, label, named)
        labels = read_label(named[name] if target is None else target, name)
        described = columns_from(description)
        days_by = described.days_by
        features = [*described.raw_columns, *([days_by.name] if days_by else [])]
        arrays = arrow_columns(named, dict.fromkeys(features))
        num_rows = {len(array) for array in arrays.values()} | {len(labels)}
        if len(num_rows) > 1:
            rows = len(next(iter(arrays.values())))
            raise InputError(
                f"the frame has {rows:,} rows and y has {len(labels):,}, expected the "
                "same number"
            )
        if not len(labels):
            raise InputError("the frame has no rows (0 sample(s)), expected some")
        reader = RowReader(described)
        typed_rows = reader.features(named)  # refuses bad values by their rows
        warn_of_large_numbers(typed_rows, described, stacklevel=3)
        reader.check_days(named)
        classes = Classes.of(labels, description["label"], name)
        description = {**in_parquet(description), "label": classes.entry(name)}
        arrays = _with_lists_described(arrays, description)
        table = pa.table({name: labels.to_arrow(), **arrays})
        names = tuple(other for other in named.known_names() if other != name)
        return cls(table, description, tuple(inferred), classes, names)

    def require_both_classes(self, validation_fraction: float) -> None:
        """Refuse to hold out so many rows that one class is left to train on."""
        if not 0 < validation_fraction < 1:
            return
        num_rows = math.ceil((1 - Fraction(str(validation_fraction))) * len(self.table))
        labels = self.table[name_of_label(self.description)].slice(0, num_rows)
        values = labels.unique()
        if len(values) == 1:
            raise InputError(
                f"validation_fraction {validation_fraction} leaves the first "
                f"{num_rows:,} rows, which all have the label {values[0].as_py()!r}, "
                "expected both classes: hold out fewer rows, or shuffle them "
                "by frame.sample(frac=1)"
            )

    def write(self, directory: Path) -> tuple[Path, Path]:
        """Write the log and its description; return their paths."""
        log, description = directory / "rows.parquet", directory / "columns.yaml"
        pyarrow.parquet.write_table(self.table, log)
        text = yaml.safe_dump(self.description, allow_unicode=True)
        description.write_text(text, encoding="utf-8")
        return log, description


def _label_of(target: Any, columns: Any, label: Any) -> Any:
    """Return the name of a label that comes apart: that of a Series, if it has one."""
    if label is not None or columns is not None:
        return label
    name = getattr(target, "name", None)
    return str(name) if isinstance(name, str) and name else DEFAULT_LABEL


def _with_lists_described(
    arrays: dict[str, pa.Array], description: dict[str, Any]
) -> dict[str, pa.Array]:
    """Describe bags that the frame has split already as lists, and return `arrays`."""
    entries = description.get("categorical") or []
    description["categorical"] = [
        {key: value for key, value in entry.items() if key != "separator"}
        | {"multi_hot": True}
        if isinstance(entry, dict)
        and entry.get("separator") is not None
        and _is_list(arrays[entry["name"]].type)
        else entry
        for entry in entries
    ]
    return arrays


def _is_list(dtype: Any) -> bool:
    types = pa.types
    return bool(
        types.is_list(dtype)
        or types.is_large_list(dtype)
        or types.is_fixed_size_list(dtype)
    )


def labels_of(frame: Any, target: Any, classes: Classes, name: str) -> np.ndarray:
    """Return the labels of rows to measure as 0 and 1.

    Raises:
        InputError: If there are none, or one is no class of training.
    """
    if target is None:
        target = NamedColumns(frame)[name]
    return classes.numbers(read_label(target, name), name)
