"""`FeatureEncoder`: from a frame to what `fit` takes."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import polars as pl

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.raw_rows import RawFeatures
from tfdlrm.frames.adapted import Adapted
from tfdlrm.frames.counting import count_rows
from tfdlrm.frames.description import columns_from, complete, read_description
from tfdlrm.frames.encoder_files import EncoderFiles
from tfdlrm.frames.large_numbers import warn_of_large_numbers
from tfdlrm.frames.named_columns import NamedColumns
from tfdlrm.frames.saved_versions import require_same_columns
from tfdlrm.frames.summary import summarize
from tfdlrm.frames.typed_rows import RowReader

if TYPE_CHECKING:
    import keras

Description = Mapping[str, Any] | str | Path


class FeatureEncoder:
    """Turn frames into the features of a model, with ids as `pipelines.prepare` gives.

    A frame is a DataFrame of pandas or Polars, a table of PyArrow, a dictionary of
    columns, a list of dictionaries, an array of rows and columns (`x0`, `x1`, …), or a
    `tf.data.Dataset` of batches of columns. Only the order of rows and the names of
    columns count, not an index.

    Values that `adapt` did not see, or saw too rarely, get id 0, missing ones id 1.
    Missing are `None`, NaN, `pandas.NA`, NaT and the empty text.

    Args:
        columns: The columns with the keys of `columns.yaml`, as a dictionary or as the
            path of such a file; columns that it does not name are ignored. `None` means
            all columns of the frame, each by its type: floats, decimals and integers
            are dense: their logarithm, or standardized if one is negative; integers
            with names such as `user_id` are categorical, as are text, booleans and
            dates; lists are multi-hot. `describe` reports this.
        label: Name of the label's column, or its entry in `columns.yaml`, such as
            `{"name": "clicked", "positive": "yes"}`; `None` means that of `columns`,
            else `label`. Frames to encode need no label.
        min_frequency: A categorical value that `adapt` sees less often gets the id of
            unknown values (dialect default; `None` means 1).
        dialect: `default` numbers the values that `adapt` sees; `hash` takes a
            remainder of a hash and numbers nothing.
        hash_buckets: Ids of each categorical column, without the reserved ones (dialect
            hash; `None` means 100,000).

    Raises:
        InputError: If the description or a setting cannot be used.

    Example:

    >>> import tfdlrm
    >>> frame = {"price": [9.5, None], "country": ["de", "fr"], "tags": [["a"], []]}
    >>> encoder = tfdlrm.FeatureEncoder().adapt(frame)
    >>> print(encoder.describe())
    price    dense        floats, log(x + 1)
    country  categorical  text, 2 values with an id
    tags     multi-hot    lists of text, 1 value with an id
    >>> new_rows = {"price": [0.0], "country": ["it"], "tags": [["a", "b"]]}
    >>> features = encoder(new_rows)
    >>> features["dense_features"].tolist()
    [[0.0]]
    >>> features["categorical_features"].to_list()
    [[[0], [2, 0]]]
    """

    def __init__(
        self,
        columns: Description | None = None,
        *,
        label: Any = None,
        min_frequency: int | None = None,
        dialect: Literal["default", "hash"] = "default",
        hash_buckets: int | None = None,
    ) -> None:
        if dialect == "default" and min_frequency is None:
            min_frequency = 1
        self._config = PrepareConfig(
            dialect=dialect, min_frequency=min_frequency, hash_buckets=hash_buckets
        )
        self._label = label
        self._description = read_description(columns, label)
        self._adapted: Adapted | None = None

    def adapt(self, frame: Any) -> Self:
        """Number the values of training rows; what an earlier call did is forgotten.

        Raises:
            InputError: If the frame has no rows, lacks a column, or has a value that
                cannot be used.
        """
        named = _named(frame)
        description, inferred = complete(self._description, self._label, named)
        columns = columns_from(description)
        rows = RowReader(columns).features(named)
        if not rows.height:
            raise InputError("the frame has no rows, expected some to adapt to")
        warn_of_large_numbers(rows, columns, stacklevel=2)
        columns = RowReader(columns).with_negatives(named)
        files = EncoderFiles.written_by(
            lambda directory: count_rows(rows, columns, self._config, directory)
        )
        self._adapted = Adapted.of_files(files, description, tuple(inferred))
        return self

    def __call__(self, frame: Any) -> Any:
        """Return the features of a frame; for a `tf.data.Dataset`, `map_dataset` of it.

        Returns:
            `{"dense_features": (rows, n) float32, "categorical_features": (rows,
            features) int32}`; with multi-hot columns the ids are a `tf.RaggedTensor`
            `(rows, features, None)`.

        Raises:
            InputError: If a column is missing or has a value that cannot be used, or
                before `adapt`.
        """
        adapted = self._require_adapted()
        if _is_data_set(frame):
            return self.map_dataset(frame)
        return adapted.features(self.typed_rows(frame))

    def typed_rows(self, frame: Any) -> pl.DataFrame:
        """Return rows as `pipelines.logs` reads them, whose slices `counting` takes."""
        adapted = self._require_adapted()
        reader = RowReader(adapted.features.columns, adapted.booleans)
        return reader.features(NamedColumns(frame))

    def counting(self) -> RawFeatures:
        """Return what encodes the rows of `typed_rows`, and counts unknown values."""
        features = self._require_adapted().features
        return replace(features, unknown=features.unknown.empty())

    def label(self, frame: Any) -> np.ndarray:
        """Return the labels of a frame, float32 `(rows, 1)`.

        Raises:
            InputError: If it has no label, or one that means neither 0 nor 1, or before
                `adapt`.
        """
        columns = self._require_adapted().features.columns
        labels = RowReader(columns).labels(_named(frame))
        return labels.to_numpy().astype(np.float32).reshape(-1, 1)

    def map_dataset(self, dataset: Any) -> Any:
        """Return a `tf.data.Dataset` of what `fit` takes.

        Args:
            dataset: Batches of columns by name, or tuples that begin with them.

        Returns:
            Features with the other parts of each tuple; features and labels, if the
            columns come alone and have the label; else features.

        Raises:
            InputError: If the elements are no such batches, or before `adapt`.
        """
        from tfdlrm.frames.data_sets import map_features

        return map_features(dataset, self.to_schema(), self, self.label)

    def to_schema(self) -> FeatureSchema:
        """Return the schema, from which `tfdlrm.models.build_model` builds a model."""
        return self._require_adapted().schema

    @property
    def columns(self) -> dict[str, Any]:
        """The description of the columns, to edit and to give to another encoder."""
        adapted = self._require_adapted()
        if adapted.description is None:
            raise InputError(
                "the encoder was loaded and has no description of its own: see "
                "to_schema().columns"
            )
        return deepcopy(adapted.description)

    @property
    def vocabularies(self) -> dict[str, list[Any]]:
        """For each categorical column its values by id, `None` for ids without one."""
        return self._require_adapted().vocabularies()

    def describe(self) -> str:
        """Return a line for each column: what it is to the model, and why."""
        adapted = self._require_adapted()
        return summarize(adapted.schema, adapted.inferred)

    def save(self, directory: str | Path) -> None:
        """Write schema and vocabularies, as they are in data sets and exported models.

        Raises:
            InputError: If the directory holds something else, or cannot be written.
        """
        self._require_adapted().files.save(Path(directory))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read an encoder that was saved, or is in a data set or an exported model.

        Args:
            path: What `save` wrote, a data set of `pipelines.prepare`, a version of an
                exported model, or the directory of its versions for the newest.

        Raises:
            InputError: If there is no encoder, or a file of it is damaged.
        """
        adapted = Adapted.of_files(EncoderFiles.load(storage.at(Path(path))))
        encoder = cls.__new__(cls)
        schema = adapted.schema
        encoder._config = PrepareConfig(
            dialect=schema.dialect,
            min_frequency=schema.min_frequency,
            max_index_range=schema.max_index_range,
            hash_buckets=schema.hash_buckets,
        )
        encoder._label, encoder._description = schema.label, None
        encoder._adapted = adapted
        return encoder

    def export(
        self,
        model: "keras.Model",
        directory: str | Path,
        allow_other_columns: bool = False,
    ) -> Path:
        """Write a model that was fitted on these features as a version to serve.

        Args:
            model: A model from features to logits.
            directory: Directory of the model's versions.
            allow_other_columns: Whether the newest version there may have other
                columns, ids or labels, which its clients would notice.

        Returns:
            The directory of the new version.

        Raises:
            InputError: If the directory cannot be used.
        """
        from tfdlrm.exporting.saved_model import export_model

        files, schema = self._require_adapted().files, self.to_schema()
        require_same_columns(Path(directory), schema, allow_other_columns)
        with files.on_disk() as extras:
            return export_model(
                model, schema, extras, Path(directory), allow_other_columns=True
            )

    def _require_adapted(self) -> Adapted:
        if self._adapted is None:
            raise InputError(
                "the encoder knows no values yet, expected adapt(frame) first, or "
                "FeatureEncoder.load(path)"
            )
        return self._adapted

    def __repr__(self) -> str:
        if self._adapted is None:
            return "FeatureEncoder(not adapted)"
        schema = self._adapted.schema
        return (
            f"FeatureEncoder({len(schema.dense_features)} dense, "
            f"{len(schema.single_hot)} categorical, {len(schema.multi_hot)} multi-hot, "
            f"label {schema.label!r})"
        )


def _is_data_set(frame: Any) -> bool:
    if not hasattr(frame, "element_spec"):
        return False
    from tfdlrm.frames.data_sets import is_data_set

    return is_data_set(frame)


def _named(frame: Any) -> NamedColumns:
    if _is_data_set(frame):
        from tfdlrm.frames.data_sets import all_columns

        return NamedColumns(all_columns(frame))
    return NamedColumns(frame)
