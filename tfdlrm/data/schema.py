"""The schema of a data set: the JSON that describes its columns, splits and files."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tfdlrm.base import storage
from tfdlrm.base.checksums import PAGE_SEAL, BrokenSealError, check_seal, seal
from tfdlrm.base.errors import InputError
from tfdlrm.base.version import __version__
from tfdlrm.data.chain import ChainLink
from tfdlrm.data.shards import Shard, check_sizes

if TYPE_CHECKING:
    from tfdlrm.data.number_features import NumberFeature

FILE_NAME = "schema.json"
VOCABULARY_FOLDER = "vocabulary"
"""Folder next to it: the values of each categorical column, unless they are hashed."""

COVERAGE_FILE = "coverage.json"
"""File next to it: the shares of unknown and missing values in each column."""

FORMAT_VERSION = 2
SPLITS = ("train", "validation", "test")

_ABSENT_IF_EMPTY = (
    *("days", "chain", "new_ids", "rare_values", "data_set", "transforms"),
)
"""Fields that schemas of earlier releases lack."""

RecordFormat = Literal["block", "row", "parquet"]

ROW_GROUP_ROWS = 2**16
"""Rows of a row group of a shard in Parquet; the last has the remaining rows."""

UNKNOWN_ID = 0
"""Id of a categorical value that training never saw, or saw too rarely."""

MISSING_ID = 1
"""Id of an empty categorical field; it differs from any value's id, also hash 0's."""

NUM_RESERVED_IDS = 2


@dataclass(frozen=True)
class CategoricalFeature:
    """A categorical column.

    Args:
        name: Name of the column.
        vocabulary_size: Number of ids, with those for unknown and missing values; ids
            run from 0 to `vocabulary_size - 1`.
        multi_hot: Whether a row may have any number of ids, not just one.
    """

    name: str
    vocabulary_size: int
    multi_hot: bool = False


@dataclass(frozen=True)
class FeatureSchema:
    """Columns, transforms and files of one data set.

    Args:
        label: Name of the label column (0 or 1).
        dense_features: Names of the continuous columns, in order.
        categorical_features: The categorical columns, in order; multi-hot ones last.
        dense_transform: `log1p` means `log(max(x, 0) + 1)`; a missing value is 0.
        untransformed: The dense features without transform; a missing value is 0.
        transforms: The features, dense or categorical, that are read from a column of
            numbers in another way, or whose name is not that of their column; see
            `tfdlrm.data.number_features`.
        dialect: Name of the rule that turns raw values into ids.
        min_frequency: A value seen less often than this in training rows is unknown
            (dialect default).
        max_index_range: The modulus of hashes (dialect facebook).
        hash_buckets: Number of ids of each categorical feature, without the reserved
            ones (dialect hash).
        reserved_ids: Ids that belong to no single value, by their meaning; those of the
            default dialect are `unknown` and `missing`.
        split: How rows were divided, in words and numbers.
        block_rows: Rows in one record; the last record of a shard may hold fewer.
        record_format: `block` for records of `block_rows` rows, columns as raw bytes;
            `row` for records that are ordinary Examples of one row; `parquet` for
            Parquet files with a column for every feature.
        shards: The files, in order.
        vocabularies: SHA-256 of the vocabulary file of each categorical feature that
            has one, in hexadecimal.
        vocabulary_contents: Checksum of each vocabulary's values and their ids,
            whatever the bytes of the file; an exported model carries it too.
        coverage: SHA-256 of `coverage.json`, in hexadecimal; an exported model carries
            it too.
        source: The inputs and settings from which the data set was prepared.
        columns: Description of the raw rows, unless they are in Criteo's format.
        reachable: For synthetic rows, the measures of each split that the planted
            truth itself has; no model can be expected to do better.
        positives: Number of rows with label 1 in each split; `None` if unknown.
        days: Number of days of the log; `None` in data sets of earlier releases.
        chain: The data sets that this one extends, the oldest first.
        new_ids: Number of ids of each categorical feature that a value has for the
            first time in this data set, if it extends another.
        rare_values: SHA-256 of the file with the counts of rare values of each
            categorical feature that has one, in hexadecimal.
        data_set: In an exported model, the fingerprint of the data set's rows.
        version: Version of the tool that wrote the data set.
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
    days: int | None = None
    chain: tuple[ChainLink, ...] = ()
    new_ids: dict[str, int] = field(default_factory=dict)
    rare_values: dict[str, str] = field(default_factory=dict)
    data_set: str | None = None
    transforms: dict[str, "NumberFeature"] = field(default_factory=dict)
    version: str = __version__
    format_version: int = FORMAT_VERSION

    @property
    def vocabulary_sizes(self) -> list[int]:
        """Number of ids of each categorical feature, in column order."""
        return [feature.vocabulary_size for feature in self.categorical_features]

    @property
    def single_hot(self) -> list[str]:
        """Names of the categorical features with one id a row."""
        features = self.categorical_features
        return [feature.name for feature in features if not feature.multi_hot]

    @property
    def multi_hot(self) -> list[str]:
        """Names of the categorical features with any number of ids a row."""
        features = self.categorical_features
        return [feature.name for feature in features if feature.multi_hot]

    @property
    def number_columns(self) -> list[str]:
        """Columns of numbers in raw rows, each once: of dense features, of buckets."""
        names = [self.column_of(name) for name in self.dense_features]
        names += [
            self.column_of(name) for name in self.single_hot if name in self.transforms
        ]
        return list(dict.fromkeys(names))

    @property
    def text_columns(self) -> list[str]:
        """Columns of raw rows with one categorical value a row, in column order."""
        return [name for name in self.single_hot if name not in self.transforms]

    @property
    def categorical_values(self) -> list[str]:
        """Columns of raw rows that hold categorical values, in column order."""
        return [*self.text_columns, *self.multi_hot]

    @property
    def raw_columns(self) -> list[str]:
        """All columns of raw rows that features are read from."""
        return [*self.number_columns, *self.categorical_values]

    def column_of(self, feature: str) -> str:
        """Return the column of raw rows that a feature is read from."""
        number = self.transforms.get(feature)
        return feature if number is None else number.column

    def split_shards(self, split: str) -> list[Shard]:
        """Return the shards of `split`, in order; empty if it has no rows."""
        prefix = f"{split}/"
        return [shard for shard in self.shards if shard.path.startswith(prefix)]

    def num_rows(self, split: str) -> int:
        """Return the number of rows in `split`."""
        return sum(shard.rows for shard in self.split_shards(split))

    def has_one_class(self, split: str) -> bool:
        """Return whether all rows of `split` are known to have the same label."""
        rows = self.num_rows(split)
        return bool(rows and self.positives and self.positives.get(split) in (0, rows))

    @property
    def held_out_splits(self) -> list[str]:
        """The splits other than training that have rows."""
        return [split for split in SPLITS[1:] if self.num_rows(split)]

    @property
    def fingerprint(self) -> str:
        """A checksum of the rows of this data set and of their order."""
        checksums = " ".join(shard.sha256 for shard in self.shards)
        return hashlib.sha256(checksums.encode()).hexdigest()

    def without_data(self) -> "FeatureSchema":
        """Return the columns and transforms alone, for an exported model."""
        return replace(
            self,
            shards=(),
            vocabularies={},
            source=None,
            reachable=None,
            positives=None,
            rare_values={},
            data_set=self.fingerprint if self.shards else self.data_set,
        )

    def check_shards(self, directory: Path, split: str | None = None) -> list[Path]:
        """Check the files of `split`, or of all splits, and return their paths.

        Raises:
            InputError: If a file is missing, cannot be read, or has another size than
                when it was written.
        """
        shards = self.shards if split is None else self.split_shards(split)
        return check_sizes(directory, shards)

    def save(self, directory: Path) -> None:
        """Write `schema.json` into `directory`, under a temporary name at first."""
        fields = json.loads(json.dumps(asdict(self)))
        for name in _ABSENT_IF_EMPTY:
            if not fields[name]:
                del fields[name]
        if self.transforms:
            fields["transforms"] = {
                name: feature.to_json() for name, feature in self.transforms.items()
            }
        storage.replace_text(directory / FILE_NAME, seal(fields, PAGE_SEAL) + "\n")

    @classmethod
    def load(cls, directory: Path) -> "FeatureSchema":
        """Read `directory/schema.json`.

        Raises:
            InputError: If the file is missing, damaged, no schema, or has another
                format version.
        """
        path = storage.at(directory) / FILE_NAME
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(
                f"{directory} holds no {FILE_NAME}: expected a data set directory as "
                "written by `python -m pipelines.prepare`"
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path} cannot be read as JSON: {error}") from None
        return _from_json(fields, path)


def _from_json(sealed: Any, path: Path) -> FeatureSchema:
    version = sealed.get("format_version") if isinstance(sealed, dict) else None
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path} has format_version {version!r}, this version reads "
            f"{FORMAT_VERSION}: prepare the data set again with this version"
        )
    fields = {**sealed}
    fields.pop(PAGE_SEAL.entry, None)
    try:
        for name in ("dense_features", "untransformed"):
            fields[name] = tuple(fields[name])
        fields["categorical_features"] = tuple(
            CategoricalFeature(**feature) for feature in fields["categorical_features"]
        )
        fields["shards"] = tuple(Shard(**shard) for shard in fields["shards"])
        links = fields.get("chain", ())
        fields["chain"] = tuple(ChainLink.from_json(link) for link in links)
        fields["transforms"] = _transforms(fields.get("transforms", {}))
        schema = FeatureSchema(**fields)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is not a data set schema: {error}") from None
    try:
        check_seal(sealed, PAGE_SEAL)
    except BrokenSealError:
        raise InputError(
            f"{path} does not match its own checksum: it is damaged or was edited; "
            "fetch it again, or remove the data set and prepare it again"
        ) from None
    return schema


def _transforms(fields: dict[str, Any]) -> dict[str, "NumberFeature"]:
    if not fields:
        return {}
    from tfdlrm.data.number_features import NumberFeature  # NumPy, which takes 0.2 s

    return {name: NumberFeature.from_json(value) for name, value in fields.items()}
