"""A trained model as a SavedModel that TF Serving takes, and back as a function."""

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfdlrm import storage
from tfdlrm.checksums import checked_bytes
from tfdlrm.column_files import vocabulary_path
from tfdlrm.errors import InputError
from tfdlrm.layers.fused_tables import FusedTables
from tfdlrm.remote_path import storage_errors
from tfdlrm.schema import COVERAGE_FILE, VOCABULARY_FOLDER, FeatureSchema
from tfdlrm.serving.checks import PADDING_ID
from tfdlrm.serving.manifest import check_version, unchecked
from tfdlrm.serving.model_card import ModelCard, example_row
from tfdlrm.serving.quantization import QuantizedTable, in_place
from tfdlrm.serving.signatures import (
    RawSignatures,
    name_signatures,
    serving_function,
)
from tfdlrm.serving.version_directories import (
    CARD_FILE,
    EXTRA_DIRECTORY,
    WARM_UP_FILE,
    is_whole,
    new_version,
    versions_in,
)
from tfdlrm.serving.vocabulary_tables import has_vocabularies
from tfdlrm.serving.warm_up_requests import write_warm_up

MAX_PADDED_IDS = 2**22
"""More places than that are scored in parts, so that one long bag costs no memory."""


@dataclass(frozen=True)
class Scorer:
    """A loaded SavedModel.

    Args:
        path: Its version directory.
        schema: Columns and transforms that it was trained with.
        module: What TensorFlow loaded.
    """

    path: Path
    schema: FeatureSchema
    module: Any

    def __call__(self, features: dict[str, Any]) -> tf.Tensor:
        """Click probabilities `(batch, 1)` of a batch as `tfdlrm.data` gives it."""
        return score(self.module.signatures["serving_default"], self.schema, features)

    @property
    def extra_directory(self) -> Path:
        """Where the schema and the vocabularies are, on this machine."""
        return storage.local_copy(self.path / EXTRA_DIRECTORY)


def score(
    serving_default: Callable[..., Any],
    schema: FeatureSchema,
    features: dict[str, Any],
) -> tf.Tensor:
    """Click probabilities of a batch by a function that takes what clients send.

    Args:
        serving_default: The function.
        schema: The columns.
        features: A batch as `tfdlrm.data` gives it.

    Returns:
        Tensor of shape `(batch, 1)`.
    """
    dense, ids = features["dense_features"], features["categorical_features"]
    if isinstance(ids, tf.RaggedTensor):
        middle = len(dense) // 2
        if middle and tf.reduce_prod(ids.bounding_shape()) > MAX_PADDED_IDS:
            halves = (slice(None, middle), slice(middle, None))
            parts = [
                {"dense_features": dense[h], "categorical_features": ids[h]}
                for h in halves
            ]
            scores = [score(serving_default, schema, part) for part in parts]
            return tf.concat(scores, axis=0)
        ids = ids.to_tensor(PADDING_ID)
    inputs = {}
    if schema.dense_features:
        inputs["dense_features"] = dense
    if schema.categorical_features:
        inputs["categorical_features"] = tf.cast(ids, tf.int64)
    return serving_default(**inputs)["probability"]


def export_model(
    model: keras.Model,
    schema: FeatureSchema,
    data_dir: Path,
    export_dir: Path,
    card: ModelCard | None = None,
    quantized: Mapping[FusedTables, QuantizedTable] | None = None,
) -> Path:
    """Write the next version of a model, complete or not at all.

    Its signatures, all of any number of rows, give `probability` (batch, 1) float32:

    - `serving_default` takes `dense_features` (batch, n) float32 and
      `categorical_features` (batch, features) int64. Where a feature is multi-hot, the
      ids are (batch, features, width), with `PADDING_ID` in the places that a bag does
      not fill; the width may differ from call to call. What a data set has none of is
      no input.
    - `raw` takes each column of the log by its name, as text (batch,), blank where
      missing; lists of a multi-hot column (batch, width), blank behind the values.
    - `tf_example` takes `examples` (batch,), serialized `tf.train.Example`s with these
      columns as text, integers, floats or lists of them, those that are missing absent.
    - `classify` and `regress` take such `inputs`, as TF Serving's calls of these names
      do, and give `classes` and `scores` (batch, 2), and `outputs` (batch, 1).

    What is malformed, not finite or out of range is an error. The vocabularies, which
    are assets, and the transforms are inside; without vocabularies in `data_dir` there
    is `serving_default` alone. Beside the model are the schema and the vocabularies for
    `tfdlrm.predict`, the model's card and requests to warm a server up with.

    Args:
        model: A model from such features to logits.
        schema: Schema of the data set that it was trained on.
        data_dir: That data set's directory, for its vocabularies.
        export_dir: Directory of the model's versions, such as `saved_models/dlrm`.
        card: What the model's card is to tell.
        quantized: Tables to write instead of the model's own; see `quantize_tables`.

    Returns:
        The new version's directory, `export_dir/VERSION`.

    Raises:
        InputError: If a vocabulary or the directory cannot be used.
        OSError: If the disk refuses.
    """
    with new_version(export_dir) as (target, aside):
        signatures = _write(model, schema, data_dir, aside, quantized or {})
        name_signatures(aside, schema)
        copy_extras(schema, data_dir, aside)
        extra = aside / EXTRA_DIRECTORY
        row = example_row(schema, extra / VOCABULARY_FOLDER)
        name = target.resolve().parent.name
        card = card or ModelCard()
        card.write(extra / CARD_FILE, model, schema, name, int(target.name), row)
        if not write_warm_up(extra / WARM_UP_FILE, name, schema, signatures, row):
            print("No warm-up requests: tensorflow-serving-api is not installed")
    return target


def copy_extras(schema: FeatureSchema, data_dir: Path, target: Path) -> None:
    """Put what raw rows need next to a model: schema, vocabularies, coverage."""
    extra = target / EXTRA_DIRECTORY
    extra.mkdir()
    schema.without_data().save(extra)
    coverage = storage.at(data_dir) / COVERAGE_FILE
    if coverage.is_file():
        contents = checked_bytes(coverage, schema.coverage)
        (extra / COVERAGE_FILE).write_bytes(contents)
    vocabulary = storage.at(data_dir) / VOCABULARY_FOLDER
    for name, checksum in schema.vocabularies.items():
        checked_bytes(vocabulary_path(data_dir, name), checksum)
    if vocabulary.is_dir():  # the hash dialect has none
        storage.copy_tree(vocabulary, extra / VOCABULARY_FOLDER)


def _write(
    model: keras.Model,
    schema: FeatureSchema,
    data_dir: Path,
    target: Path,
    quantized: Mapping[FusedTables, QuantizedTable],
) -> list[str]:
    """Write the SavedModel; returns the names of its signatures."""
    replaced = [id(layer.tables[0]) for layer in quantized]
    module = tf.Module()
    # The weights alone: the model itself would bring its optimizer's state along.
    # Of those that a strategy has copies of, one copy: it is saved without another.
    copies_of = model.distribute_strategy.experimental_local_results
    module.weights = [
        copies_of(weight.value)[0]
        for weight in model.weights
        if id(weight) not in replaced
    ]
    module.quantized = list(quantized.values())
    module.serving_default = serving_function(model, schema, checked=True)
    signatures = {"serving_default": module.serving_default}
    with in_place(quantized), tempfile.TemporaryDirectory() as work:
        if has_vocabularies(schema, data_dir):
            module.raw = RawSignatures(model, schema, data_dir, Path(work))
            signatures |= module.raw.functions()
        else:
            print(f"{data_dir} holds no vocabularies: the model takes no raw columns")
        with storage_errors(str(target)):
            tf.saved_model.save(module, str(target), signatures=signatures)
    return list(signatures)


def load_scorer(path: Path) -> Scorer:
    """Load a SavedModel written by `export_model`.

    Args:
        path: A version's directory, or the directory of versions for the newest.

    Raises:
        InputError: If there is no such model there, or a file of it is damaged.
    """
    path = storage.at(path)
    if not is_whole(path):
        whole = {v: each for v, each in versions_in(path).items() if is_whole(each)}
        if not whole:
            raise InputError(
                f"{path} holds no SavedModel: expected a directory such as "
                "saved_models/dlrm/1, written by tfdlrm.train or tfdlrm.export"
            )
        path = whole[max(whole)]
    if not check_version(path):
        print(unchecked(path), file=sys.stderr)
    schema = FeatureSchema.load(path / EXTRA_DIRECTORY)
    with storage.literal(path) as literal:
        return Scorer(path, schema, tf.saved_model.load(str(literal)))
