"""The vocabulary of a column as an asset of a SavedModel, and a table read from it.

An asset holds the values in the order of their ids: text as one value a line, Criteo's
hashes as little-endian unsigned 32-bit integers, which load ten times as fast as lines.
If some ids belong to no value, since values were forgotten, a second asset holds the
ids of the values as little-endian 32-bit integers.
"""

import uuid
from pathlib import Path

import polars as pl
import tensorflow as tf

from tfdlrm.base.errors import InputError

_SEPARATORS = ("\n", "\x1e", "\x1f", "\n\x1e\n", "\n\x1f\x1e\x1f\n")


class VocabularyTable(tf.Module):
    """Looks up the ids of one column's values, inside a graph.

    While exporting, the table stays empty, since only the SavedModel needs it; loading
    the SavedModel fills it from the asset.

    Args:
        values: Column `value`, UInt32 or String, by ascending ids without gaps; null
            for an id that no value has.
        first_id: Id of the first value.
        unknown_id: Id of values outside the vocabulary.
        path: Path of the asset, without an extension. The file must stay until the
            SavedModel is written.

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
        has_value = values.is_not_null()
        if not has_value.any():
            return
        self.ids_asset = None
        if not has_value.all():
            ids_path = path.with_name(f"{path.name}.ids.int32")
            ids = first_id + has_value.arg_true().to_numpy().astype("<i4")
            ids.tofile(ids_path)
            self.ids_asset = tf.saved_model.Asset(ids_path)
            values = values.filter(has_value)
        separator = None
        if values.dtype == pl.String:
            # Polars takes a name such as `^…$` for a pattern.
            name, values = values.name, values.alias("value")
            separator = _separator(values, name)
            path = path.with_name(f"{path.name}.txt")
            # Written by hand: CSV would quote some values.
            path.write_bytes(values.str.join(separator)[0].encode())
        else:
            path = path.with_name(f"{path.name}.uint32")
            values.cast(pl.UInt32).to_numpy().astype("<u4").tofile(path)
        self.asset = tf.saved_model.Asset(path)
        self.table = _Table(self.asset, first_id, separator, self.ids_asset)

    def ids(self, values: tf.Tensor) -> tf.Tensor:
        """Return the ids of `values`, text or the `low_bits` of numbers, as int64."""
        if self.table is None:
            return tf.fill(tf.shape(values), tf.constant(self.unknown_id, tf.int64))
        ids = tf.cast(self.table.find(values, self.unknown_id), tf.int64)
        return tf.ensure_shape(ids, values.shape)  # the lookup loses the shape


class _Table(tf.saved_model.experimental.TrackableResource):
    """A hash table that is filled when a SavedModel is loaded.

    `tf.lookup.StaticHashTable` would be filled while exporting too, and cannot read
    such an asset.
    """

    def __init__(
        self,
        asset: tf.saved_model.Asset,
        first_id: int,
        separator: str | None,
        ids_asset: tf.saved_model.Asset | None,
    ) -> None:
        super().__init__()
        self._ids_asset = ids_asset
        self._asset, self._first_id, self._separator = asset, first_id, separator
        self._name = f"vocabulary_{uuid.uuid4()}"
        self._key_dtype = tf.int32 if separator is None else tf.string
        # A handle that is created within a function would belong to that function.
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
        if self._ids_asset is None:
            ids = tf.range(self._first_id, self._first_id + tf.size(keys))
        else:
            ids = tf.io.decode_raw(
                tf.io.read_file(self._ids_asset.asset_path), tf.int32
            )
        tf.raw_ops.InitializeTableV2(
            table_handle=self.resource_handle, keys=keys, values=ids
        )

    def find(self, values: tf.Tensor, unknown_id: int) -> tf.Tensor:
        return tf.raw_ops.LookupTableFindV2(
            table_handle=self.resource_handle,
            keys=values,
            default_value=tf.constant(unknown_id),
        )


def low_bits(values: tf.Tensor) -> tf.Tensor:
    """Return the low 32 bits of int64 values, as int32."""
    return tf.bitcast(values, tf.int32)[..., 0]


def _separator(values: pl.Series, name: str) -> str:
    """Return the first of `_SEPARATORS` that no value contains."""
    for separator in _SEPARATORS:
        if not values.str.contains(separator, literal=True).any():
            return separator
    raise InputError(
        f"{name} has values with every separator that a vocabulary could be "
        "written with: take control characters out of the log"
    )
