"""Export of a trained model as a SavedModel for TF Serving."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import keras
import tensorflow as tf

from tfdlrm.base import storage
from tfdlrm.base.checksums import checked_bytes
from tfdlrm.base.remote_path import storage_errors
from tfdlrm.data.rare_values import copy_rare_values
from tfdlrm.data.schema import COVERAGE_FILE, VOCABULARY_FOLDER, FeatureSchema
from tfdlrm.data.vocabulary_files import copy_vocabulary, has_vocabularies
from tfdlrm.exporting.model_card import ModelCard, example_row
from tfdlrm.exporting.other_columns import require_same_columns
from tfdlrm.exporting.quantization import QuantizedTable, lookups_in
from tfdlrm.exporting.raw_signatures import RawSignatures
from tfdlrm.exporting.results_file import RESULTS_FILE, Results
from tfdlrm.exporting.signatures import name_signatures, serving_function
from tfdlrm.exporting.versions import (
    BASELINES_FILE,
    CARD_FILE,
    EXTRA_DIRECTORY,
    WARM_UP_FILE,
    new_version,
)
from tfdlrm.exporting.warm_up_requests import write_warm_up
from tfdlrm.layers._fused_tables import FusedTables
from tfdlrm.optimizers._late_decay import as_stored


def export_model(
    model: keras.Model,
    schema: FeatureSchema,
    data_dir: Path,
    export_dir: Path,
    card: ModelCard | None = None,
    quantized: Mapping[FusedTables, QuantizedTable] | None = None,
    results: Results | None = None,
    baselines: Path | None = None,
    allow_other_columns: bool = False,
) -> Path:
    """Write the next version of a model, complete or not at all.

    Its signatures take any number of rows and return `probability` (batch, 1) float32:

    - `serving_default` takes `dense_features` (batch, n) float32 and
      `categorical_features` (batch, features) int64. If a feature is multi-hot, the
      ids are (batch, features, width), with `PADDING_ID` behind the ids of a bag; the
      width may differ from call to call. Features that the data set lacks are not
      inputs.
    - `raw` takes each column of the log by its name, as text (batch,), blank where
      missing; lists of a multi-hot column (batch, width), blank behind the values.
    - `tf_example` takes `examples` (batch,), serialized `tf.train.Example`s with these
      columns as text, integers, floats or lists of them; missing columns are absent.
    - `classify` and `regress` take such Examples as `inputs`, like TF Serving's calls
      of these names. They return `classes` and `scores` (batch, 2), and `outputs`
      (batch, 1).

    Malformed, infinite and out-of-range input is an error. The model contains the
    transforms and, as assets, the vocabularies; without vocabularies in `data_dir` it
    has `serving_default` alone. Next to the model are the schema and the vocabularies
    for `tfdlrm.predict`, the model's card and results, and requests that warm a server
    up.

    Args:
        model: A model from such features to logits.
        schema: Schema of the data set that the model was trained on.
        data_dir: Directory of that data set, for its vocabularies.
        export_dir: Directory of the model's versions, such as `saved_models/dlrm`.
        card: Contents of the model's card.
        quantized: Tables to write instead of the model's own; see `quantize_tables`.
        results: Measures and curves for the server's page; `None` if they are unknown.
        baselines: File of the run's baselines, which `tfdlrm.evaluate` measures too; it
            need not exist.
        allow_other_columns: Whether the newest version there may have other columns.

    Returns:
        Directory of the new version, `export_dir/VERSION`.

    Raises:
        InputError: If a vocabulary or the directory cannot be used, or clients of the
            newest version there could not use the model.
        OSError: If the disk refuses.
    """
    with new_version(export_dir) as (target, directory):
        # Checked while no other process adds a version.
        require_same_columns(export_dir, schema, data_dir, allow_other_columns)
        extra = directory / EXTRA_DIRECTORY
        copy_extras(schema, data_dir, directory)
        if not has_vocabularies(schema, extra):
            print(f"{data_dir} holds no vocabularies: the model takes no raw columns")
        with as_stored(model):
            signatures, categories = _write(model, schema, directory, quantized or {})
        name_signatures(directory, schema)
        row = example_row(schema, categories)
        name = target.resolve().parent.name
        card = card or ModelCard()
        card.write(extra / CARD_FILE, model, schema, name, int(target.name), row)
        if results is not None:
            facts = {"name": name, "version": int(target.name)}
            results.write(extra / RESULTS_FILE, **facts)
        if baselines is not None and baselines.is_file():
            with (
                baselines.open("rb") as source,
                (extra / BASELINES_FILE).open("wb") as copy,
            ):
                shutil.copyfileobj(source, copy)
        if not write_warm_up(extra / WARM_UP_FILE, name, schema, signatures, row):
            print("No warm-up requests: tensorflow-serving-api is not installed")
    return target


def copy_extras(schema: FeatureSchema, data_dir: Path, target: Path) -> None:
    """Copy what raw rows and later data sets need: schema, vocabularies, coverage.

    Args:
        schema: Schema of the data set.
        data_dir: Directory of the data set.
        target: Directory of the model; it need not exist.
    """
    extra = target / EXTRA_DIRECTORY
    extra.mkdir(parents=True)
    schema.without_data().save(extra)
    coverage = storage.at(data_dir) / COVERAGE_FILE
    if coverage.is_file():
        contents = checked_bytes(coverage, schema.coverage)
        (extra / COVERAGE_FILE).write_bytes(contents)
    if (storage.at(data_dir) / VOCABULARY_FOLDER).is_dir():  # not after hashing
        for feature in schema.categorical_features:
            checksum = schema.vocabularies.get(feature.name)
            copy_vocabulary(data_dir, feature.name, extra, checksum)
            rare_checksum = schema.rare_values.get(feature.name)
            copy_rare_values(data_dir, feature.name, extra, rare_checksum)


def _write(
    model: keras.Model,
    schema: FeatureSchema,
    target: Path,
    quantized: Mapping[FusedTables, QuantizedTable],
) -> tuple[list[str], list[str]]:
    """Write the SavedModel into a directory that holds its extras.

    Returns:
        The names of its signatures, and a value of each categorical column.
    """
    extra = target / EXTRA_DIRECTORY
    replaced_tables = [id(layer.tables[0]) for layer in quantized]
    categories = [""] * len(schema.categorical_features)
    module = tf.Module()
    # The weights alone: the model would be saved with its optimizer's state. If a
    # strategy has copies of a weight, one copy is enough.
    copies_of = model.distribute_strategy.experimental_local_results
    module.weights = [
        copies_of(weight.value)[0]
        for weight in model.weights
        if id(weight) not in replaced_tables
    ]
    module.quantized = list(quantized.values())
    module.serving_default = serving_function(model, schema, checked=True)
    signatures = {"serving_default": module.serving_default}
    with lookups_in(quantized), tempfile.TemporaryDirectory() as work:
        if has_vocabularies(schema, extra):
            module.raw = RawSignatures(model, schema, extra, Path(work))
            signatures |= module.raw.functions()
            categories = list(module.raw.features.categories)
        with storage_errors(str(target)):
            tf.saved_model.save(module, str(target), signatures=signatures)
    return list(signatures), categories
