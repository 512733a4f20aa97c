"""Copy an exported version into another model's directory of versions."""

import json
from collections.abc import Mapping
from pathlib import Path

from tfdlrm.base import directories, storage
from tfdlrm.base.errors import InputError
from tfdlrm.data.meaning_differences import summarize
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.manifest import MANIFEST_FILE, check_version
from tfdlrm.exporting.other_columns import column_differences, columns_of
from tfdlrm.exporting.versions import (
    CARD_FILE,
    EXTRA_DIRECTORY,
    WARM_UP_FILE,
    new_version,
    newest_whole,
)


def newest_version(path: Path) -> Path:
    """Return the directory of a version, or of the newest in it, after a check.

    Raises:
        InputError: If there is none, or a file of it is damaged.
    """
    version = newest_whole(storage.at(path))
    if version is None:
        raise InputError(
            f"{path} holds no SavedModel: expected a directory such as "
            "saved_models/dlrm, written by DLRMClassifier.save, tfdlrm.train or "
            "tfdlrm.export"
        )
    check_version(version)
    return version


def require_same_columns(
    export_dir: Path, schema: FeatureSchema, allow_other_columns: bool
) -> None:
    """Refuse a model that clients of the newest version there could not use.

    Args:
        export_dir: Directory of the versions; it need not exist.
        schema: Columns of the model, with the checksums of its vocabularies.
        allow_other_columns: Whether such a model is taken all the same.

    Raises:
        InputError: If it is such a model.
    """
    newest = newest_whole(storage.at(export_dir))
    there = None if newest is None or allow_other_columns else columns_of(newest)
    reasons = [] if there is None else column_differences(there, schema)
    if newest is not None and reasons:
        raise InputError(
            f"{export_dir} has version {newest.name}, whose clients could not use this "
            f"model: {summarize(reasons)} (there is that version, here this model); "
            "give another directory, or allow_other_columns=True"
        )


def copy_version(
    version: Path,
    export_dir: Path,
    extra_files: Mapping[str, bytes],
    allow_other_columns: bool = False,
) -> Path:
    """Write the next version of a model as a copy of another model's.

    Args:
        version: Directory of the version to copy.
        export_dir: Directory of the versions; it need not exist.
        extra_files: Contents of further files next to the schema, by their names.
        allow_other_columns: Whether the newest version there may have other columns.

    Returns:
        Directory of the new version.

    Raises:
        InputError: If `export_dir` cannot be used.
    """
    schema = columns_of(version)
    if schema is not None:
        require_same_columns(export_dir, schema, allow_other_columns)
    with new_version(export_dir) as (target, directory):
        directories.copy_tree(version, directory)
        (directory / MANIFEST_FILE).unlink(missing_ok=True)  # it is written last
        extra = directory / EXTRA_DIRECTORY
        for file, contents in extra_files.items():
            (extra / file).write_bytes(contents)
        name = target.resolve().parent.name
        card = json.loads((extra / CARD_FILE).read_bytes())
        card |= {"name": name, "version": int(target.name)}
        storage.replace_json(extra / CARD_FILE, card)
        if (extra / WARM_UP_FILE).is_file():
            _rename_in_requests(extra / WARM_UP_FILE, name)
    return target


def _rename_in_requests(path: Path, name: str) -> None:
    """Write another model's name into the requests that warm a server up."""
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    logs = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = PredictionLog.FromString(record)
        request = getattr(log, str(log.WhichOneof("log_type"))).request
        request.model_spec.name = name
        logs.append(log.SerializeToString())
    with tf.io.TFRecordWriter(str(path)) as writer:
        for contents in logs:
            writer.write(contents)
