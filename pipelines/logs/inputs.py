"""The files of an input: one file, or those of a folder as Spark and Hive write it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from urllib.parse import unquote

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError

_NO_LOGS = (".crc", ".truth.npy")
"""Files of Hadoop's checksums, and of the planted truth of `pipelines.synthetic`."""

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


class Inputs(tuple[Path, ...]):
    """The files of several inputs, in order.

    Attributes:
        names: Name of each file; for the files of a folder, their paths below it.
        lengths: Number of files of each input.
        splits: Split of each input; empty if rows are split by days.
    """

    names: list[str]
    lengths: list[int]
    splits: list[str]

    @classmethod
    def of(cls, paths: Sequence[Path]) -> "Inputs":
        """Return the files of `paths`; a folder stands for all files below it.

        Raises:
            InputError: If a folder has no files.
        """
        if isinstance(paths, Inputs):
            return paths
        groups = [input_files(path) for path in paths]
        inputs = cls(file for files in groups for file in files)
        inputs.lengths = [len(files) for files in groups]
        inputs.splits = []
        inputs.names = [
            file.name if file == path else str(file.relative_to(path.parent))
            for path, files in zip(map(storage.at, paths), groups, strict=True)
            for file in files
        ]
        return inputs

    @classmethod
    def given(
        cls, raw: Sequence[Path], splits: Mapping[str, Sequence[Path]]
    ) -> "Inputs":
        """Return the files of logs that are split by days, or those of each split.

        Raises:
            InputError: If there are both or none, or they cannot be used.
        """
        if raw and splits:
            names = " and ".join(splits)
            raise InputError(
                f"raw is {raw[0]}, and {names} name files too: give --raw for a log "
                "that is split by days, or --train, --validation and --test for splits "
                "that are used as they are"
            )
        if not raw and not splits:
            raise InputError(
                "raw is missing, expected one or more logs: give --raw LOG, or "
                "--train, --validation and --test for splits that are used as they are"
            )
        return cls.of_splits(splits) if splits else cls.of(raw)

    @classmethod
    def of_splits(cls, splits: Mapping[str, Sequence[Path]]) -> "Inputs":
        """Return the files of each split.

        Args:
            splits: Files and folders of each split, in the order that rows will have; a
                split may have none, except training.

        Raises:
            InputError: If training has none, a folder has no files, or a file is in
                two splits.
        """
        if not splits.get("train"):
            raise InputError(
                "train is missing, expected the files of the training rows next to "
                "those of validation and test: give --train, or --raw for a log that "
                "is split by days"
            )
        inputs = cls.of([path for paths in splits.values() for path in paths])
        inputs.splits = [name for name, paths in splits.items() for _ in paths]
        _require_disjoint(inputs)
        return inputs

    @property
    def split_of_files(self) -> list[str]:
        """Split of each file; empty if rows are split by days."""
        return [
            split
            for split, length in zip(
                self.splits, self.lengths, strict=bool(self.splits)
            )
            for _ in range(length)
        ]

    @property
    def num_days(self) -> int:
        """Number of inputs with a day's log each, all of which may be trained on."""
        return self.splits.count("train") if self.splits else len(self.lengths)

    def rows_per_split(self, rows_per_file: Sequence[int]) -> Counter[str]:
        """Return the number of rows of each split."""
        rows: Counter[str] = Counter()
        for split, count in zip(self.split_of_files, rows_per_file, strict=True):
            rows[split] += count
        return rows

    def rows_per_input(self, rows_per_file: Sequence[int]) -> list[int]:
        """Return the number of rows of each input that has any."""
        ends = accumulate(self.lengths, initial=0)
        rows = [sum(rows_per_file[start:end]) for start, end in pairwise(ends)]
        return [count for count in rows if count]


def _require_disjoint(inputs: Inputs) -> None:
    """Refuse a file in two splits: its rows would be measured after training on them.

    Raises:
        InputError: If there is one.
    """
    splits: dict[Path, str] = {}
    for path, split in zip(inputs, inputs.split_of_files, strict=True):
        file = path if storage.is_remote(path) else path.resolve()
        if splits.setdefault(file, split) != split:
            raise InputError(
                f"{path} is in {splits[file]} and in {split}, expected other rows in "
                "each: leave it out of one of them"
            )


def input_files(path: Path) -> list[Path]:
    """Return a file itself, or the files below a folder, sorted by name.

    Files that Spark and Hadoop put next to the data are left out: `_SUCCESS`, other
    names that begin with an underscore or a dot, and checksums.

    Raises:
        InputError: If `path` is a folder without a file.
    """
    path = storage.at(path)
    if not _is_folder(path):
        return [path]
    files = sorted(_files_below(path), key=lambda file: file.parts)
    if not files:
        raise InputError(
            f"{path} is a folder without a file of a log, expected one or more; those "
            "whose names begin with a dot or an underscore do not count"
        )
    return files


def require_outside(output: Path, paths: Sequence[Path]) -> None:
    """Refuse an output below a folder of raw files: it would become a part of them.

    Raises:
        InputError: If `output` is below one of `paths`.
    """
    for path in map(storage.at, paths):
        if _is_folder(path) and output.resolve().is_relative_to(path.resolve()):
            raise InputError(
                f"output {output} is in {path}, which is read as a log: give a path "
                "outside of it"
            )


def partition_values(path: Path) -> dict[str, str | None]:
    """Return the columns that the folders of a file name, such as `day=2024-05-01`.

    Example:

    >>> partition_values(Path("log/day=2024-05-01/shop=a%2Fb/part-0.csv"))
    {'day': '2024-05-01', 'shop': 'a/b'}
    """
    columns: list[tuple[str, str | None]] = []
    for folder in reversed(path.parts[:-1]):
        name, equals, value = folder.partition("=")
        if not name or not equals:
            break
        columns.append((unquote(name), None if value == _NO_VALUE else unquote(value)))
    return dict(reversed(columns))


def _is_folder(path: Path) -> bool:
    # A web server has no folders.
    if storage.is_remote(path) and not path.parts[0].startswith("s3"):
        return False
    try:
        return path.is_dir()
    except OSError:  # reported when the file is read
        return False


def _files_below(folder: Path) -> Iterator[Path]:
    for entry in _data_in(folder.iterdir()):
        if entry.is_dir():
            yield from _files_below(entry)
        else:
            yield entry


def _data_in(entries: Iterable[Path]) -> Iterator[Path]:
    for entry in entries:
        name = entry.name
        is_marker = name.startswith("_") and "=" not in name
        if not is_marker and not name.startswith(".") and not name.endswith(_NO_LOGS):
            yield entry
