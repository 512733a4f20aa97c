"""What a data set's columns are: the JSON that every later step is sized from."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tfdlrm import __version__
from tfdlrm.errors import InputError

FILE_NAME = "schema.json"
FORMAT_VERSION = 1
SPLITS = ("train", "validation", "test")

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
    """

    name: str
    vocabulary_size: int


@dataclass(frozen=True)
class Shard:
    """One TFRecord file of a data set.

    Args:
        path: Path relative to the data set directory.
        rows: Number of rows in it.
        bytes: Size of the file.
        sha256: Checksum of the file, in hexadecimal.
    """

    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class FeatureSchema:
    """Columns, transforms and files of one data set.

    Args:
        label: Name of the label column (0 or 1).
        dense_features: Names of the continuous columns, in order.
        categorical_features: The categorical columns, in order.
        dense_transform: `log1p` means `log(max(x, 0) + 1)` with missing taken as 0.
        dialect: Name of the rule that turns raw values into ids.
        min_frequency: A value seen less often than this in training rows is unknown.
        split: How rows were divided, in words and numbers.
        block_rows: Rows in one record; the last record of a shard may hold fewer.
        shards: The files, in order.
        source: The inputs and settings that the data set was made from.
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
    dialect: Literal["default"] = "default"
    min_frequency: int = 1
    split: dict[str, Any] | None = None
    block_rows: int = 2048
    shards: tuple[Shard, ...] = ()
    source: dict[str, Any] | None = None
    version: str = __version__
    format_version: int = FORMAT_VERSION

    @property
    def vocabulary_sizes(self) -> list[int]:
        """Number of ids of each categorical feature, in column order."""
        return [feature.vocabulary_size for feature in self.categorical_features]

    def split_shards(self, split: str) -> list[Shard]:
        """The shards of `split`, in order; empty when it holds no rows."""
        return [s for s in self.shards if s.path.startswith(f"{split}/")]

    def num_rows(self, split: str) -> int:
        """Number of rows in `split`."""
        return sum(shard.rows for shard in self.split_shards(split))

    @property
    def held_out_splits(self) -> list[str]:
        """The splits beside training that have rows."""
        return [split for split in SPLITS[1:] if self.num_rows(split)]

    def without_data(self) -> "FeatureSchema":
        """The columns and transforms alone, as an exported model carries them."""
        return replace(self, shards=(), source=None)

    def check_shards(self, directory: Path, split: str | None = None) -> list[Path]:
        """The files of `split`, or of all splits, in `directory`.

        Raises:
            InputError: If one is missing or has another size than when it was written.
        """
        paths = []
        for shard in self.shards if split is None else self.split_shards(split):
            path = directory / shard.path
            found = path.stat().st_size if path.is_file() else None
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
        target = directory / FILE_NAME
        aside = target.with_suffix(".json.partial")
        aside.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        aside.replace(target)

    @classmethod
    def load(cls, directory: Path) -> "FeatureSchema":
        """Read `directory/schema.json`.

        Raises:
            InputError: If the file is missing, is not a schema, or has another
                format version.
        """
        path = Path(directory) / FILE_NAME
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(
                f"{directory} holds no {FILE_NAME}: expected a data set directory as "
                "written by `python -m pipelines.prepare`"
            ) from None
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read as JSON: {error}") from None
        return _from_json(fields, path)


def _from_json(fields: Any, path: Path) -> FeatureSchema:
    found = fields.get("format_version") if isinstance(fields, dict) else None
    if found != FORMAT_VERSION:
        raise InputError(
            f"{path} has format_version {found!r}, this version reads "
            f"{FORMAT_VERSION}: prepare the data set again with this version"
        )
    try:
        fields["dense_features"] = tuple(fields["dense_features"])
        fields["categorical_features"] = tuple(
            CategoricalFeature(**feature) for feature in fields["categorical_features"]
        )
        fields["shards"] = tuple(Shard(**shard) for shard in fields["shards"])
        return FeatureSchema(**fields)
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not a data set schema: {error}") from None
