"""Refuse splits whose rows all have the same label."""

from pathlib import Path

from tfdlrm.base.errors import InputError
from tfdlrm.data.schema import SPLITS, FeatureSchema

_ROWS_AT_ONCE = 2**16

_USE = {
    "train": "of which nothing is learned",
    "validation": "by which no model is told from another",
    "test": "on which no AUC is defined",
}


def require_both_labels(directory: Path, schema: FeatureSchema, fix: str = "") -> None:
    """Refuse a data set of which a split has rows of one label alone.

    Args:
        directory: The data set directory.
        schema: Its schema. Those of earlier releases do not count labels, so that rows
            are read until both labels were seen.
        fix: The end of the message: an option that takes such rows, if there is one.

    Raises:
        InputError: If it is such a data set; the message names the first such split.
    """
    for split in filter(schema.num_rows, SPLITS):
        label = _only_label(directory, schema, split)
        if label is not None:
            held_out = "" if split == "train" else " Or hold out other rows."
            raise InputError(
                f"{directory}: all {schema.num_rows(split):,} {split} rows have label "
                f"{label}, {_USE[split]}: is it the right column, and label.positive, "
                f"if set, as in the log?{held_out}{fix}"
            )


def _only_label(directory: Path, schema: FeatureSchema, split: str) -> int | None:
    """Return the label of all rows of a split; `None` if they have both."""
    if schema.positives is not None:
        num_positive = schema.positives.get(split)
        num_rows = schema.num_rows(split)
        return int(num_positive > 0) if num_positive in (0, num_rows) else None
    from tfdlrm.data.reading import damage_named, read_split

    labels: set[int] = set()
    with damage_named(directory, schema):
        for _, batch in read_split(directory, schema, split, _ROWS_AT_ONCE):
            labels |= {int(label) for label in set(batch.numpy().ravel().tolist())}
            if len(labels) > 1:
                return None
    return labels.pop()
