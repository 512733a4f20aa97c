"""Check that the next version of a model has the columns of the newest one there.

Clients send what the version before took: rows by the names of columns, or ids. A
version that means something else by them is exported only on request.
"""

from pathlib import Path

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.meaning_differences import differences, summarize
from tfdlrm.data.schema import FILE_NAME, FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents
from tfdlrm.data.vocabulary_files import has_vocabularies
from tfdlrm.exporting.manifest import EXTRA_DIRECTORY, MODEL_FILE
from tfdlrm.exporting.versions import versions_in

MODEL_FILES = {
    "saved_model": MODEL_FILE,
    "onnx": "model.onnx",
    "litert": "model.tflite",
}
"""The file of a version that holds the model, by format."""


def require_same_columns(
    export_dir: Path,
    schema: FeatureSchema,
    data_dir: Path,
    allows_other: bool = False,
    format: str = "saved_model",
) -> None:
    """Refuse a model that does not answer what the newest version there answers.

    A data set that extends the one of that version has its columns: ids keep their
    meaning.

    Args:
        export_dir: Directory of the versions; it need not exist.
        schema: Schema of the model's data set.
        data_dir: Directory with its vocabularies.
        allows_other: Whether such a model is exported all the same, with a line that
            says what differs.
        format: Format of the model, as in `MODEL_FILES`.

    Raises:
        InputError: If it is such a model, or the newest version cannot be read.
    """
    newest = newest_version(export_dir)
    if newest is None:
        return
    reasons = _reasons(newest, with_contents(schema, data_dir), data_dir, format)
    if not reasons:
        return
    if allows_other:
        print(f"{newest} has other columns: {summarize(reasons)}")
        return
    fixes = ["give another --export_dir"]
    if all("another vocabulary" in reason for reason in reasons):
        fixes.append(f"prepare the data with --extend {newest}, which keeps ids")
    raise InputError(
        f"export_dir {export_dir} has version {newest.name}, whose clients could not "
        f"use a model of {data_dir}: {summarize(reasons)} (there is the version, here "
        f"the data); {', '.join(fixes)}, or export all the same with "
        "--allow_other_columns"
    )


def newest_version(export_dir: Path) -> Path | None:
    """Return the directory of the newest version, of any file format, if there is one.

    Raises:
        OSError: If `export_dir` cannot be read.
    """
    versions = {
        number: path
        for number, path in versions_in(storage.at(export_dir)).items()
        if any((path / name).is_file() for name in MODEL_FILES.values())
    }
    return versions[max(versions)] if versions else None


def columns_of(version: Path) -> FeatureSchema | None:
    """Return the schema of a version, with the checksums of its vocabularies.

    Args:
        version: Directory of the version.

    Returns:
        `None` if tfdlrm did not export it.

    Raises:
        InputError: If the schema or a vocabulary is damaged.
    """
    extra = version / EXTRA_DIRECTORY
    if not (extra / FILE_NAME).is_file():
        return None
    return with_contents(FeatureSchema.load(extra), extra)


def column_differences(there: FeatureSchema, here: FeatureSchema) -> list[str]:
    """Return in words what a model means by equal inputs that another one does not.

    A data set that extends another has no differences from it.

    Args:
        there: Columns of a version, with the checksums of its vocabularies.
        here: Columns of what is to follow it, likewise.
    """
    meaning = Meaning.of(there)
    if meaning.fingerprint in [link.meaning for link in here.chain]:
        return []
    return differences(meaning, Meaning.of(here))


def _reasons(
    newest: Path, schema: FeatureSchema, data_dir: Path, format: str
) -> list[str]:
    """Return in words why clients of a version could not use a model of a data set."""
    if not (newest / MODEL_FILES[format]).is_file():
        return [f"the version has no {MODEL_FILES[format]}"]
    try:
        columns = columns_of(newest)
    except InputError as error:
        return [f"the columns of the version cannot be read ({error})"]
    if columns is None:
        return [f"the version has no {EXTRA_DIRECTORY}/{FILE_NAME} to compare with"]
    reasons = column_differences(columns, schema)
    has_raw = has_vocabularies(columns, newest / EXTRA_DIRECTORY)
    if has_raw and not has_vocabularies(schema, data_dir):
        reasons.append("the signature raw is there, and not here without vocabularies")
    return reasons
