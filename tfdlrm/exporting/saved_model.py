"""A trained model as a SavedModel that TF Serving takes, and back as a function."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import keras
import tensorflow as tf

from tfdlrm.base import storage
from tfdlrm.base.checksums import checked_bytes
from tfdlrm.base.remote_path import storage_errors
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.schema import COVERAGE_FILE, VOCABULARY_FOLDER, FeatureSchema
from tfdlrm.exporting.model_card import ModelCard, example_row
from tfdlrm.exporting.quantization import QuantizedTable, in_place
from tfdlrm.exporting.signatures import (
    RawSignatures,
    name_signatures,
    serving_function,
)
from tfdlrm.exporting.versions import (
    CARD_FILE,
    EXTRA_DIRECTORY,
    WARM_UP_FILE,
    new_version,
)
from tfdlrm.exporting.vocabulary_tables import has_vocabularies
from tfdlrm.exporting.warm_up_requests import write_warm_up
from tfdlrm.layers._fused_tables import FusedTables


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
