"""What a data set's columns are: the JSON that every later step is sized from."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.base.version import __version__

FILE_NAME = "schema.json"
VOCABULARY_FOLDER = "vocabulary"
"""Beside it: the values of each categorical column, unless they are hashed."""

COVERAGE_FILE = "coverage.json"
"""Beside it: the shares of unknown and missing values in each column."""

FORMAT_VERSION = 2
SPLITS = ("train", "validation", "test")

RecordFormat = Literal["block", "row", "parquet"]

ROW_GROUP_ROWS = 2**16
"""Rows of a row group of a shard in Parquet, the last taking what is left."""

UNKNOWN_ID = 0
"""Id of a categorical value that training never saw, or saw too rarely."""

MISSING_ID = 1
"""Id of an empty categorical field; it differs from every value, the hash 0 too."""

NUM_RESERVED_IDS = 2


@dataclass(frozen=True)
class CategoricalFeature:
    """A categorical column.

    Args:
        name: Column name.
        vocabulary_size: Number of ids, those for unknown and missing included; ids
            run from 0 to `vocabulary_size - 1`.
        multi_hot: Whether a row has any number of ids, not just one.
    """

    name: str
    vocabulary_size: int
    multi_hot: bool = False


@dataclass(frozen=True)
class Shard:
    """One TFRecord file of a data set.

    Args:
        path: Path relative to the data set directory.
        rows: Number of rows in it.
        bytes: Size of the file.
        sha256: Checksum of the file, in hexadecimal.
        crc32c: Checksum of the file that takes no time to compute; data sets of earlier
            versions have none.
    """

    path: str
    rows: int
    bytes: int
    sha256: str
    crc32c: int | None = None


@dataclass(frozen=True)
class FeatureSchema:
    """Columns, transforms and files of one data set.

    Args:
        label: Name of the label column (0 or 1).
        dense_features: Names of the continuous columns, in order.
        categorical_features: The categorical columns, in order; multi-hot ones last.
        dense_transform: `log1p` means `log(max(x, 0) + 1)` with missing taken as 0.
        untransformed: The dense features that are taken as they are instead, missing as
            0 too.
        dialect: Name of the rule that turns raw values into ids.
        min_frequency: A value seen less often than this in training rows is unknown
            (dialect default).
        max_index_range: Hashes were taken modulo this (dialect facebook).
        hash_buckets: Ids of each categorical feature beside the reserved ones (dialect
            hash).
        reserved_ids: The ids that are no value's own, by what they stand for; those of
            the default dialect are `unknown` and `missing`.
        split: How rows were divided, in words and numbers.
        block_rows: Rows in one record; the last record of a shard may hold fewer.
        record_format: `block` for records of `block_rows` rows, columns as raw bytes;
            `row` for records that are ordinary Examples of one row; `parquet` for
            Parquet files with a column for every feature.
        shards: The files, in order.
        vocabularies: Checksum of the vocabulary's file of each categorical feature
            that has one, in hexadecimal.
        vocabulary_contents: Checksum of its values and their ids, whatever the bytes of
            the file are; an exported model carries it too.
        coverage: SHA-256 of `coverage.json`, in hexadecimal; an exported model carries
            it too.
        source: The inputs and settings that the data set was made from.
        columns: How raw rows look, where they are not in Criteo's format.
        reachable: For synthetic rows, the measures of each split that the planted
            truth itself has; no model can be expected to do better.
        positives: Number of rows with label 1 in each split; `None` where it is not
            known.
        version: Version of the tool that wrote it.
        format_version: Version of this format.

    Example:

    >>> schema = FeatureSchema(
    ...     dense_features=("I1",),
    ...     categorical_features=(CategoricalFeature("C1", vocabulary_size=10),),
    ... )
    >>> schema.vocabulary_sizes
    [10]
    """

    dense_features: tuple[str, ...]
    categorical_features: tuple[CategoricalFeature, ...]
    label: str = "label"
    dense_transform: Literal["log1p"] = "log1p"
    untransformed: tuple[str, ...] = ()
    dialect: Literal["default", "facebook", "hash"] = "default"
    min_frequency: int | None = None
    max_index_range: int | None = None
    hash_buckets: int | None = None
    reserved_ids: dict[str, int] = field(
        default_factory=lambda: {"unknown": UNKNOWN_ID, "missing": MISSING_ID}
    )
    split: dict[str, Any] | None = None
    block_rows: int = 2048
    record_format: RecordFormat = "block"
    shards: tuple[Shard, ...] = ()
    vocabularies: dict[str, str] = field(default_factory=dict)
    vocabulary_contents: dict[str, str] = field(default_factory=dict)
    coverage: str | None = None
    source: dict[str, Any] | None = None
    columns: dict[str, Any] | None = None
    reachable: dict[str, dict[str, float]] | None = None
    positives: dict[str, int] | None = None
    version: str = __version__
    format_version: int = FORMAT_VERSION

    @property
    def vocabulary_sizes(self) -> list[int]:
        """Number of ids of each categorical feature, in column order."""
        return [feature.vocabulary_size for feature in self.categorical_features]

    @property
    def single_hot(self) -> list[str]:
        """Names of the categorical features with one id a row."""
        return [each.name for each in self.categorical_features if not each.multi_hot]

    @property
    def multi_hot(self) -> list[str]:
        """Names of the categorical features with any number of ids a row."""
        return [each.name for each in self.categorical_features if each.multi_hot]

    def split_shards(self, split: str) -> list[Shard]:
        """The shards of `split`, in order; empty when it holds no rows."""
        return [s for s in self.shards if s.path.startswith(f"{split}/")]

    def num_rows(self, split: str) -> int:
        """Number of rows in `split`."""
        return sum(shard.rows for shard in self.split_shards(split))

    def has_one_class(self, split: str) -> bool:
        """Whether all rows of `split` are known to have the same label."""
        rows = self.num_rows(split)
        return bool(rows and self.positives and self.positives.get(split) in (0, rows))

    def describe_one_class(self, split: str) -> str:
        """Say that all rows of `split` have the same label, and where to look."""
        label = "1" if (self.positives or {}).get(split) else "0"
        return (
            f"all {self.num_rows(split):,} {split} rows have label {label}, of which "
            "nothing is learned: is it the right column, and label.positive, if set, "
            "as in the log?"
        )

    @property
    def held_out_splits(self) -> list[str]:
        """The splits beside training that have rows."""
        return [split for split in SPLITS[1:] if self.num_rows(split)]

    @property
    def fingerprint(self) -> str:
        """What tells the rows of this data set, and their order, from all others."""
        checksums = " ".join(shard.sha256 for shard in self.shards)
        return hashlib.sha256(checksums.encode()).hexdigest()

    def without_data(self) -> "FeatureSchema":
        """The columns and transforms alone, as an exported model carries them."""
        return replace(
            self,
            shards=(),
            vocabularies={},
            source=None,
            reachable=None,
            positives=None,
        )

    def check_shards(self, directory: Path, split: str | None = None) -> list[Path]:
        """The files of `split`, or of all splits, in `directory`.

        Raises:
            InputError: If one is missing, cannot be read, or has another size than when
                it was written.
        """
        directory = storage.at(directory)
        paths = []
        for shard in self.shards if split is None else self.split_shards(split):
            path = directory / shard.path
            try:
                found = path.stat().st_size if path.is_file() else None
                if found is not None and not storage.is_remote(path):
                    path.open("rb").close()  # it may be there and not for us to read
            except OSError as error:
                raise unreadable_shard(path, error) from None
            if found != shard.bytes:
                what = "is missing" if found is None else f"has {found:,} bytes"
                raise InputError(
                    f"{path} {what}, expected {shard.bytes:,} bytes: the data set is "
                    "damaged; remove it and prepare it again"
                )
            paths.append(path)
        return paths

    def save(self, directory: Path) -> None:
        """Write `schema.json` into `directory`, aside first and then renamed."""
        fields = json.loads(json.dumps(asdict(self)))
        text = json.dumps(fields | {"checksum": _checksum(fields)}, indent=2) + "\n"
        storage.replace_text(directory / FILE_NAME, text)

    @classmethod
    def load(cls, directory: Path) -> "FeatureSchema":
        """Read `directory/schema.json`.

        Raises:
            InputError: If the file is missing, damaged, not a schema, or has another
                format version.
        """
        path = storage.at(directory) / FILE_NAME
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(
                f"{directory} holds no {FILE_NAME}: expected a data set directory as "
                "written by `python -m pipelines.prepare`"
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path} cannot be read as JSON: {error}") from None
        return _from_json(fields, path)


def unreadable_shard(path: Path, error: OSError) -> InputError:
    """Return the error of a shard that the machine does not let us read."""
    return InputError(
        f"{path} cannot be read: {error.strerror or error}; expected a shard of the "
        "data set: see who may read it, and the disk"
    )


def _checksum(fields: dict[str, Any]) -> str:
    """Return the checksum of a schema's fields, whatever the layout of their file."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _from_json(fields: Any, path: Path) -> FeatureSchema:
    found = fields.get("format_version") if isinstance(fields, dict) else None
    if found != FORMAT_VERSION:
        raise InputError(
            f"{path} has format_version {found!r}, this version reads "
            f"{FORMAT_VERSION}: prepare the data set again with this version"
        )
    expected = fields.pop("checksum", None)
    checksum = _checksum(fields)
    try:
        for name in ("dense_features", "untransformed"):
            fields[name] = tuple(fields[name])
        fields["categorical_features"] = tuple(
            CategoricalFeature(**feature) for feature in fields["categorical_features"]
        )
        fields["shards"] = tuple(Shard(**shard) for shard in fields["shards"])
        schema = FeatureSchema(**fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a data set schema: {error}") from None
    # Those of earlier versions have none.
    if expected not in (None, checksum):
        raise InputError(
            f"{path} does not match its own checksum: it is damaged or was edited; "
            "fetch it again, or remove the data set and prepare it again"
        )
    return schema
