"""The files of an encoder: schema, vocabularies and coverage, in memory and on disk."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Self

from tfdlrm.base import directories, storage
from tfdlrm.base.checksums import checked_bytes
from tfdlrm.base.errors import InputError
from tfdlrm.data.dialects import traits_of
from tfdlrm.data.exported_model import schema_directory
from tfdlrm.data.rare_values import copy_rare_values
from tfdlrm.data.schema import COVERAGE_FILE, FILE_NAME, FeatureSchema
from tfdlrm.data.vocabulary_files import copy_vocabulary

_NAMES = {FILE_NAME, COVERAGE_FILE, "vocabulary", "rare_values"}
"""Everything that an encoder writes into its directory."""


@dataclass(frozen=True)
class EncoderFiles:
    """What a data set holds except its rows.

    Args:
        contents: Contents of the files, by their paths in a directory.
    """

    contents: dict[str, bytes]

    @classmethod
    def written_by(cls, write: Callable[[Path], object]) -> Self:
        """Return the files that a function writes into an empty directory."""
        with TemporaryDirectory(prefix="tfdlrm-") as folder:
            write(Path(folder))
            return cls(
                {
                    str(PurePosixPath(name)): (Path(folder) / name).read_bytes()
                    for name in directories.files_below(Path(folder))
                }
            )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what was saved, or is in a data set or an exported model.

        Raises:
            InputError: If there is nothing of the kind, or a file is damaged.
        """
        try:
            directory = schema_directory(path)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error}") from None
        if directory is None:
            raise InputError(
                f"{path} holds no {FILE_NAME}: expected what FeatureEncoder.save "
                "wrote, a data set of pipelines.prepare, or an exported model such as "
                "saved_models/dlrm"
            )
        schema = FeatureSchema.load(directory)
        return cls.written_by(lambda target: _copy(schema, directory, target))

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """Yield a temporary directory that holds the files."""
        with TemporaryDirectory(prefix="tfdlrm-") as folder:
            self._write(Path(folder))
            yield Path(folder)

    def save(self, path: Path) -> None:
        """Write the files into a directory, all or none.

        Raises:
            InputError: If the directory holds something else, or cannot be written.
        """
        path = storage.at(path)
        try:
            if not storage.is_remote(path):
                _require_own(path)
                path.parent.mkdir(parents=True, exist_ok=True)
            with directories.new_directory(path, last=FILE_NAME) as directory:
                directory.mkdir()
                self._write(directory)
        except OSError as error:
            raise InputError(
                f"{path} cannot be written ({error.strerror or error}): give another "
                "directory"
            ) from None

    def _write(self, directory: Path) -> None:
        for name, contents in self.contents.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes(contents)


def _require_own(path: Path) -> None:
    """Refuse to replace a directory that holds more than an encoder."""
    if not path.exists():
        return
    problem = "is a file"
    if path.is_dir():
        others = sorted({entry.name for entry in path.iterdir()} - _NAMES)
        if not others:
            return
        problem = f"holds {others[0]}"
    raise InputError(
        f"{path} exists and {problem}, expected a new directory, or one that "
        "FeatureEncoder.save wrote: give another one"
    )


def _copy(schema: FeatureSchema, source: Path, target: Path) -> None:
    without_rows = replace(
        schema, shards=(), source=None, reachable=None, positives=None
    )
    without_rows.save(target)
    coverage = source / COVERAGE_FILE
    if coverage.is_file():
        contents = checked_bytes(coverage, schema.coverage)
        (target / COVERAGE_FILE).write_bytes(contents)
    if not traits_of(schema.dialect).has_vocabulary:
        return
    for feature in schema.categorical_features:
        name = feature.name
        copy_vocabulary(source, name, target, schema.vocabularies.get(name))
        copy_rare_values(source, name, target, schema.rare_values.get(name))
