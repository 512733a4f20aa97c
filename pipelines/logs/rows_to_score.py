"""Read rows to score; `tfdlrm.predict` and `tfdlrm.client` do it the same way."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from pipelines.logs.bad_rows import EmptyLogError
from pipelines.logs.columns import Columns
from pipelines.logs.criteo_file import RawFile
from pipelines.logs.damage import reading
from pipelines.logs.inputs import input_files
from pipelines.logs.opening import open_log
from pipelines.logs.parquet_log import ParquetLog
from pipelines.logs.text_log import TextLog
from pipelines.logs.text_style import TextStyle


class RowsToScore:
    """The rows of a log or of a folder's files, without columns for training alone.

    Args:
        path: Path of the file or folder.
        columns: The columns of the log.
        is_described: Whether `columns` say what quotes and escapes mean; if not, rows
            with them are refused.
        kept: Names of columns of the log to pass on under their `kept_name`.

    Attributes:
        style: How text of the log is written, as far as its rows have been read;
            Parquet's values are written as in CSV.
        num_bytes: Size of the files as stored.
        bytes_read: Number of these bytes that have been read, about.

    Yields:
        Data frames as `RawFile` and `LogFile` yield them, in the order of the rows.

    Raises:
        InputError: If a file cannot be read or has a bad row; or if there is no row.
    """

    def __init__(
        self,
        path: Path,
        columns: Columns,
        is_described: bool = True,
        kept: Sequence[str] = (),
    ) -> None:
        self._files = input_files(path)
        self._columns, self._is_described = columns, is_described
        self._kept = tuple(kept)
        self.style = TextStyle(columns.separator.encode(), columns.quote_mark)
        if columns.format == "parquet":
            self.style = TextStyle(b",", b'"')
        self.bytes_read = 0
        self.num_bytes = sum(map(_num_bytes, self._files))

    def __iter__(self) -> Iterator[pl.DataFrame]:
        empty_error: EmptyLogError | None = None
        bytes_before, num_rows = 0, 0
        for path in self._files:
            try:
                file = self._open(path)
            except EmptyLogError as error:
                empty_error = empty_error or error
                continue
            if isinstance(file, TextLog):
                self.style = file.style
            for frame in file.frames():
                self.bytes_read = bytes_before + file.bytes_read
                num_rows += frame.height
                yield frame
            bytes_before += file.num_bytes
        if empty_error and not num_rows:
            raise empty_error

    def _open(self, path: Path) -> RawFile | TextLog | ParquetLog:
        columns = self._columns
        if columns.is_criteo:
            return RawFile(path, kept=self._kept)
        if not self._is_described:
            return TextLog(
                path, columns, labelled=False, is_described=False, kept=self._kept
            )
        return open_log(path, columns, labelled=False, kept=self._kept)


def _num_bytes(path: Path) -> int:
    with reading(path):
        return path.stat().st_size


Texts = dict[str, list[bytes] | list[list[bytes]]]
"""A text of each row by column; of a column of lists, as many texts for every row."""


def as_texts(frame: pl.DataFrame, columns: Columns) -> Texts:
    """Return typed rows as text by column, empty where missing, for a model's `raw`.

    Args:
        frame: Rows as `RowsToScore` yields them.
        columns: The columns of the rows.

    Example:

    >>> columns = Columns("y", ("a",), ("b",), ("c",), separators=("|",))
    >>> frame = pl.DataFrame({"a": [1.5], "b": [None], "c": [["x", "y"]]})
    >>> as_texts(frame, columns)
    {'a': [b'1.5'], 'b': [b''], 'c': [b'x|y']}
    """
    separators = dict(zip(columns.multi_hot, columns.separators, strict=True))
    texts: Texts = {}
    for name in columns.raw_columns:
        values = frame[name].alias("value")
        if columns.is_criteo and name in columns.single_hot:
            texts[name] = _hexadecimal(values.to_list())
            continue
        if name in separators:
            separator = separators[name]
            if separator is None:
                texts[name] = _filled_up(values.to_list())
                continue
            values = values.list.join(separator)
        text = values.cast(pl.String).fill_null("")
        texts[name] = text.cast(pl.Binary).to_list()
    return texts


def _filled_up(lists: Sequence[Sequence[str]]) -> list[list[bytes]]:
    """Return lists of one length, filled up by empty texts, which models leave out."""
    width = max([1, *map(len, lists)])
    return [
        [text.encode() for text in texts] + [b""] * (width - len(texts))
        for texts in lists
    ]


def _hexadecimal(values: Sequence[int | None]) -> list[bytes]:
    return [b"" if value is None else b"%08x" % value for value in values]
