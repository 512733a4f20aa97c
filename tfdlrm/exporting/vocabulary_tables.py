"""The vocabulary of a column as an asset of a SavedModel, and a table read from it.

An asset holds the values in the order of their ids: text on lines of its own, Criteo's
hashes as little-endian unsigned 32-bit integers, which load ten times as fast as lines.
"""

import io
import uuid
from pathlib import Path

import polars as pl
import tensorflow as tf

from tfdlrm.base import storage
from tfdlrm.base.checksums import checked_bytes
from tfdlrm.base.errors import InputError
from tfdlrm.base.local_copies import local_copy
from tfdlrm.data.column_files import vocabulary_file
from tfdlrm.data.schema import VOCABULARY_FOLDER, FeatureSchema

_SEPARATORS = ("\n", "\x1e", "\x1f", "\n\x1e\n", "\n\x1f\x1e\x1f\n")


def read_values(directory: Path, name: str, sha256: str | None = None) -> pl.DataFrame:
    """The values of a column, with their ids, by id.

    Args:
        directory: The directory that holds `vocabulary/`.
        name: The column.
        sha256: Checksum of its vocabulary by the schema, if that has one.

    Returns:
        Columns `value` (UInt32 or String) and `id`.

    Raises:
        InputError: If there is none that can be read.
    """
    folder = local_copy(storage.at(directory) / VOCABULARY_FOLDER)
    path = vocabulary_file(folder, name)
    try:
        contents = io.BytesIO(checked_bytes(path, sha256))
        return pl.read_parquet(contents, columns=["value", "id"]).sort("id")
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path} cannot be read as a vocabulary ({reason}): prepare the data again"
        ) from None


def has_vocabularies(schema: FeatureSchema, directory: Path) -> bool:
    """Whether everything is there that turns raw values into ids."""
    return (
        schema.dialect == "hash"
        or not schema.categorical_features
        or (storage.at(directory) / VOCABULARY_FOLDER).is_dir()
    )


class VocabularyTable(tf.Module):
    """From the values of one column to ids, inside a graph.

    Where it is made the table stays empty, since only the SavedModel needs it; it is
    filled from the asset wherever that is loaded.

    Args:
        values: Column `value`, UInt32 or String, by ascending ids without gaps.
        first_id: Id of the first.
        unknown_id: Id of all other values.
        path: Where to write the asset, without an extension. It must stay there until
            the SavedModel is written.

    Attributes:
        namesake: The value whose id is `unknown_id` too, if there is one.
        has_integers: Whether a value is the text of an integer.
    """

    def __init__(
        self, values: pl.Series, first_id: int, unknown_id: int, path: Path
    ) -> None:
        super().__init__()
        self.unknown_id = unknown_id
        position = unknown_id - first_id
        is_shared = 0 <= position < len(values)
        self.namesake = values[position] if is_shared else None
        self.has_integers = bool(
            values.dtype == pl.String
            and values.alias("value").str.contains("^-?[0-9]+$").any()
        )
        self.table = None
        if not len(values):
            return
        separator = None
        if values.dtype == pl.String:
            # Polars takes a name such as `^…$` for a pattern.
            name, values = values.name, values.alias("value")
            separator = _separator(values, name)
            path = path.with_name(f"{path.name}.txt")
            # Not written as CSV, which would quote some of them.
            path.write_bytes(values.str.join(separator)[0].encode())
        else:
            path = path.with_name(f"{path.name}.uint32")
            values.cast(pl.UInt32).to_numpy().astype("<u4").tofile(path)
        self.asset = tf.saved_model.Asset(path)
        self.table = _Table(self.asset, first_id, separator)

    def ids(self, values: tf.Tensor) -> tf.Tensor:
        """The id of each of `values`, text or int64, as int64."""
        if self.table is None:
            return tf.fill(tf.shape(values), tf.constant(self.unknown_id, tf.int64))
        if values.dtype == tf.int64:
            values = _low_bits(values)
        ids = tf.cast(self.table.find(values, self.unknown_id), tf.int64)
        return tf.ensure_shape(ids, values.shape)  # the table forgets it


class _Table(tf.saved_model.experimental.TrackableResource):
    """A hash table that is filled where a SavedModel is loaded.

    `tf.lookup.StaticHashTable` would be filled here too, and reads no such asset.
    """

    def __init__(
        self, asset: tf.saved_model.Asset, first_id: int, separator: str | None
    ) -> None:
        super().__init__()
        self._asset, self._first_id, self._separator = asset, first_id, separator
        self._name = f"vocabulary_{uuid.uuid4()}"
        self._key_dtype = tf.int32 if separator is None else tf.string
        # A handle first asked for within a function would be that function's own.
        _ = self.resource_handle

    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.HashTableV2(
            key_dtype=self._key_dtype, value_dtype=tf.int32, shared_name=self._name
        )

    def _initialize(self) -> None:
        content = tf.io.read_file(self._asset.asset_path)
        if self._separator is None:
            keys = tf.io.decode_raw(content, tf.int32)
        else:
            keys = tf.strings.split(content, self._separator)
        ids = tf.range(self._first_id, self._first_id + tf.size(keys))
        tf.raw_ops.InitializeTableV2(
            table_handle=self.resource_handle, keys=keys, values=ids
        )

    def find(self, values: tf.Tensor, unknown_id: int) -> tf.Tensor:
        return tf.raw_ops.LookupTableFindV2(
            table_handle=self.resource_handle,
            keys=values,
            default_value=tf.constant(unknown_id),
        )


def _low_bits(values: tf.Tensor) -> tf.Tensor:
    """The low 32 bits of int64 values, as int32."""
    return tf.bitcast(values, tf.int32)[..., 0]


def _separator(values: pl.Series, name: str) -> str:
    """The first of `_SEPARATORS` that no value holds."""
    for separator in _SEPARATORS:
        if not values.str.contains(separator, literal=True).any():
            return separator
    raise InputError(
        f"{name} has values with every separator that a vocabulary could be "
        "written with: take control characters out of the log"
    )
