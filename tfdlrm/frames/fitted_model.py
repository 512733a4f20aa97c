"""A trained model that a classifier holds: an exported version in a directory."""

import json
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tfdlrm.base import directories
from tfdlrm.base.errors import InputError
from tfdlrm.base.plain_text import visible
from tfdlrm.data.exported_model import EXTRA_DIRECTORY
from tfdlrm.data.unknown_values import UnknownValues
from tfdlrm.frames.encoder import FeatureEncoder
from tfdlrm.frames.labels import Classes
from tfdlrm.frames.own_folder import OwnFolder
from tfdlrm.frames.saved_versions import copy_version, newest_version

if TYPE_CHECKING:
    from tfdlrm.exporting.scorer import Scorer

CLASSES_FILE = "classes.json"
"""Next to the schema of a version: the classes of its label and the columns of rows."""

BATCH_ROWS = 8192
"""Rows scored at once, as many as `tfdlrm.predict` takes: rounding depends on it."""


MIN_ROWS_TO_WARN = 100
"""Of fewer rows, a single new value would be a large share."""


@dataclass(frozen=True)
class FittedModel:
    """An exported version with the classes of its label.

    Args:
        folder: The temporary directory that holds the version `1`.
        classes: The classes of the label.
        feature_names: Names of the columns of training, except the label.
    """

    folder: OwnFolder
    classes: Classes
    feature_names: tuple[str, ...]

    @classmethod
    def of(
        cls, version: Path, classes: Classes, feature_names: tuple[str, ...]
    ) -> Self:
        """Copy an exported version, which may go then."""
        folder = OwnFolder()
        directories.copy_tree(version, folder.path / "1")
        return cls(folder, classes, feature_names)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a version, or the newest in a directory of versions.

        Raises:
            InputError: If there is none, or a file of it is damaged.
        """
        version = newest_version(path)
        names, classes = _read_classes(version)
        return cls.of(version, classes, names)

    @classmethod
    def of_contents(cls, contents: dict[str, bytes], fields: dict[str, Any]) -> Self:
        """Write files that `contents` returned."""
        folder = OwnFolder()
        for name, data in contents.items():
            path = folder.path / "1" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        names, classes = _from_json(fields)
        return cls(folder, classes, names)

    @property
    def version(self) -> Path:
        """Directory of the version."""
        return self.folder.path / "1"

    def contents(self) -> dict[str, bytes]:
        """Return the contents of all files, by their paths."""
        return {
            str(name): (self.version / name).read_bytes()
            for name in directories.files_below(self.version)
        }

    def to_json(self) -> dict[str, Any]:
        """Return classes and columns in types of JSON."""
        return {"classes": self.classes.to_json(), "columns": list(self.feature_names)}

    @cached_property
    def encoder(self) -> FeatureEncoder:
        """The encoder of the model's columns."""
        return FeatureEncoder.load(self.version)

    @cached_property
    def scorer(self) -> "Scorer":
        """The loaded model."""
        from tfdlrm.exporting.scorer import load_scorer

        return load_scorer(self.version)

    def probabilities(self, frame: Any) -> np.ndarray:
        """Return the probability of the second class, float32 `(rows,)`.

        Raises:
            InputError: If a column is missing or has a value that cannot be used.
        """
        rows = self.encoder.typed_rows(frame)
        if not rows.height:
            raise InputError("the frame has no rows (0 sample(s)), expected some")
        encode = self.encoder.counting()
        probabilities = [
            self.scorer(encode(part)).numpy().ravel()
            for part in rows.iter_slices(BATCH_ROWS)
        ]
        warn_of_unknown(encode.unknown, rows.height, stacklevel=4)
        return np.concatenate(probabilities)

    def save(self, export_dir: Path, allow_other_columns: bool) -> Path:
        """Write the next version of a directory of versions, and return its path."""
        extra = {CLASSES_FILE: json.dumps(self.to_json()).encode()}
        return copy_version(self.version, export_dir, extra, allow_other_columns)


def warn_of_unknown(unknown: UnknownValues, num_rows: int, stacklevel: int) -> None:
    """Warn of columns with many more unknown values than the rows of training had.

    Args:
        unknown: The counts of some rows.
        num_rows: Number of these rows; of few there is no warning.
        stacklevel: Calls from here to that of the user.
    """
    if num_rows < MIN_ROWS_TO_WARN:
        return
    for line in unknown.report():
        if line.startswith("warning: "):
            text = visible(line.removeprefix("warning: "))
            warnings.warn(text, stacklevel=stacklevel + 1)


def _read_classes(version: Path) -> tuple[tuple[str, ...], Classes]:
    path = version / EXTRA_DIRECTORY / CLASSES_FILE
    if path.is_file():
        return _from_json(json.loads(path.read_bytes()))
    schema = FeatureEncoder.load(version).to_schema()
    described = schema.columns or {}
    positive, negative = described.get("positive"), described.get("negative")
    classes = Classes(np.array([0, 1]), ("0", "1"))
    if positive is not None and isinstance(negative, list) and len(negative) == 1:
        texts = (str(negative[0]), str(positive))
        classes = Classes(np.array(texts), texts)
    return tuple(schema.raw_columns), classes


def _from_json(fields: dict[str, Any]) -> tuple[tuple[str, ...], Classes]:
    return tuple(fields["columns"]), Classes.from_json(fields["classes"])
