"""The two classes of a label, and the entry that describes it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa

from pipelines.logs.columns import Columns
from pipelines.logs.label_values import label_texts, read_labels
from pipelines.logs.parquet_values import as_frame
from tfdlrm.base.errors import InputError
from tfdlrm.frames.arrow_values import arrow_values
from tfdlrm.frames.named_columns import num_rows_of

_MAX_SHOWN = 5

_ANY = Columns("label", (), ())
"""Columns that say nothing of the values of a label."""


@dataclass(frozen=True)
class Classes:
    """The two classes of a label.

    Args:
        values: The class that means 0 and that which means 1.
        texts: Both as text.
    """

    values: np.ndarray
    texts: tuple[str, str]

    @classmethod
    def of(cls, labels: pl.Series, entry: Any, name: str) -> Self:
        """Return the classes of labels: the second in order, or `positive`, means 1.

        Args:
            labels: All labels of training.
            entry: The entry `label` of the description.
            name: Name of the label.

        Raises:
            InputError: If there are no two, or the entry names other ones.
        """
        distinct_labels = labels.unique().sort()
        texts = label_texts(distinct_labels, _ANY).to_list()
        if len(texts) != 2:
            shown = ", ".join(map(repr, distinct_labels.head(_MAX_SHOWN).to_list()))
            more = ", …" if len(texts) > _MAX_SHOWN else ""
            if len(texts) == 1:
                raise InputError(
                    f"label {name!r} has one class, {shown}, in all rows, expected two "
                    "classes: give rows of both"
                )
            # The words that scikit-learn uses.
            reason = "The type of the target is multiclass"
            if distinct_labels.dtype.is_float():
                reason = "Unknown label type: the target may be continuous"
            raise InputError(
                f"label {name!r} has {len(texts)} values, {shown}{more}, expected two "
                f"classes. Only binary classification is supported. {reason}: make two "
                f"values of them, for example by frame[{name!r}] == "
                f"{distinct_labels[-1]!r}, and drop rows without a label"
            )
        classes = cls(np.array(distinct_labels.to_list()), (texts[0], texts[1]))
        positive = _described(entry, "positive", name)
        negative = _described(entry, "negative", name)
        if labels.dtype == pl.Boolean:  # of which a file may have either spelling
            positive, negative = (
                text and text.lower() for text in (positive, negative)
            )
        for key, text in (("positive", positive), ("negative", negative)):
            if text is not None and text not in texts:
                raise InputError(
                    f"label.{key} is {text!r}, expected one of the values of {name!r}, "
                    f"which are {texts[0]!r} and {texts[1]!r}"
                )
        is_turned = positive == texts[0] or negative == texts[1]
        return classes._turned() if is_turned else classes

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
        first, second = fields["texts"]
        return cls(np.array(fields["values"]), (first, second))

    def to_json(self) -> dict[str, Any]:
        """Return the same in types of JSON, which `from_json` reads."""
        return {"values": self.values.tolist(), "texts": list(self.texts)}

    def _turned(self) -> Self:
        return replace(self, values=self.values[::-1], texts=self.texts[::-1])

    def entry(self, name: str) -> Any:
        """Return the entry `label` of a description: these classes, unless 0 and 1."""
        if read_labels(pl.Series(self.texts), _ANY).to_list() == [0, 1]:
            return name
        negative, positive = self.texts
        return {"name": name, "positive": positive, "negative": negative}

    def numbers(self, labels: pl.Series, name: str) -> np.ndarray:
        """Return labels as 0 and 1.

        Raises:
            InputError: If one is neither class.
        """
        texts = label_texts(labels, _ANY)
        is_known = texts.is_in(list(self.texts))
        if not is_known.all():
            row = int((~is_known).arg_true()[0])
            raise InputError(
                f"row {row} (from 0): label {name!r} is {labels[row]!r}, expected one "
                f"of the classes of training, {self.texts[0]!r} and {self.texts[1]!r}"
            )
        return (texts == self.texts[1]).to_numpy().astype(np.int64)


def _described(entry: Any, key: str, name: str) -> str | None:
    value = entry.get(key) if isinstance(entry, Mapping) else None
    if value is None:
        return None
    texts = value if isinstance(value, list) else [value]
    if len(texts) != 1 or (key == "negative" and texts[0] == "others"):
        raise InputError(
            f"label.negative is {value!r}, expected one value, since the classifier "
            f"predicts values of {name!r}: make the label two values first"
        )
    return str(texts[0])


def read_label(column: Any, name: str) -> pl.Series:
    """Return the labels of training or of a test as they came.

    Raises:
        InputError: If they are no column of single values, or one is missing.
    """
    num_rows_of(column, f"label {name!r}")
    shape: Any = getattr(column, "shape", ())
    if len(shape) == 2 and shape[1] == 1:
        column = np.asarray(column).ravel()
    if isinstance(column, np.ndarray) and column.ndim != 1:
        raise InputError(
            f"label {name!r} has the shape {column.shape}, expected one value a row"
        )
    try:
        array = arrow_values(column, name)
        labels = as_frame(pa.table({"values": array}))["values"]
    except pl.exceptions.PolarsError:
        raise InputError(
            f"label {name!r} holds no labels, expected two values"
        ) from None
    is_label = labels.dtype.is_numeric() or labels.dtype in (
        *(pl.String, pl.Boolean, pl.Binary, pl.Date, pl.Null),
    )
    if not is_label:
        raise InputError(
            f"label {name!r} is of type {array.type}, expected numbers, booleans or "
            "text of two values"
        )
    rows = labels.is_null().arg_true()
    if len(rows):
        more = f" and in {len(rows) - 1:,} more rows" if len(rows) > 1 else ""
        raise InputError(
            f"label {name!r} is missing (NaN, None or empty) in row {int(rows[0])} "
            f"(from 0){more}, expected a value in each: drop such rows"
        )
    if labels.dtype.is_float() and not labels.is_finite().all():
        raise InputError(f"label {name!r} is inf in a row, expected two finite values")
    return labels.cast(pl.String) if labels.dtype == pl.Binary else labels
