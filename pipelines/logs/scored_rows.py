"""Write the scores of rows, next to columns of their log, as text or Parquet.

Text has the separator, quotes and escapes of the log, so that whatever reads the log
reads the output too.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from pipelines.logs.bad_rows import quote_value
from pipelines.logs.text_style import TextStyle
from tfdlrm.base.errors import InputError
from tfdlrm.base.output_file import output_file

SCORE = "probability"
"""Name of the column of the scores, the last one."""


class ScoredRows(Protocol):
    """A file of scored rows."""

    def write(
        self,
        kept: Sequence[pl.Series],
        scores: np.ndarray | pl.Series,
        style: TextStyle,
    ) -> None:
        """Write some rows.

        Args:
            kept: Their columns that are kept, each under its name.
            scores: Their scores, null where there is none; text without a head line has
                no scores.
            style: How text of the log is written; that of the first rows counts.
        """


def check_keep(keep: Sequence[str]) -> None:
    """Check the names of columns to keep.

    Raises:
        InputError: If a name is there twice, or is that of the scores.
    """
    for name in keep:
        if keep.count(name) > 1:
            raise InputError(f"keep names the column {name!r} twice, expected once")
    if SCORE in keep:
        raise InputError(
            f"keep names the column {SCORE!r}, and the scores have this name: expected "
            "other columns"
        )


@contextmanager
def scored_rows(
    name: str, path: Path, keep: Sequence[str], has_head: bool = True
) -> Iterator[ScoredRows]:
    """Open the output of a command that scores rows; it appears complete or not at all.

    Args:
        name: The setting that names the output.
        path: Its value; a name that ends in `.parquet` stands for Parquet.
        keep: Names of the columns that are kept, which come first.
        has_head: Whether text begins with a line of names.

    Raises:
        InputError: If it cannot be written.
    """
    with output_file(name, path) as file:
        if path.suffix.lower() == ".parquet":
            with _ParquetRows(file, path) as rows:
                yield rows
        else:
            yield _TextRows(file, path, keep, has_head)


class _TextRows:
    def __init__(
        self, file: BinaryIO, path: Path, keep: Sequence[str], has_head: bool
    ) -> None:
        self._file, self._path, self._keep = file, path, keep
        self._has_head = has_head
        self._style: TextStyle | None = None

    def write(
        self,
        kept: Sequence[pl.Series],
        scores: np.ndarray | pl.Series,
        style: TextStyle,
    ) -> None:
        if self._style is None:
            self._style = style
            if self._has_head:
                names = [pl.Series(name, [name], pl.String) for name in self._keep]
                self._write(names, [pl.Series(SCORE, [SCORE])])
        texts = [_as_text(values) for values in kept]
        self._write(texts, [pl.Series(SCORE, scores)] if self._has_head else [])

    def _write(self, kept: Sequence[pl.Series], scores: Sequence[pl.Series]) -> None:
        style = self._style
        assert style is not None
        escaped = [self._escape(values, style) for values in kept]
        columns = [*escaped, *scores]
        numbered = {str(number): text for number, text in enumerate(columns)}
        frame = pl.DataFrame(numbered)  # names may be empty, and are in the head line
        frame.write_csv(
            self._file,
            include_header=False,
            separator=style.separator.decode(),
            quote_char='"',
            quote_style="necessary" if style.quote else "never",
        )

    def _escape(self, values: pl.Series, style: TextStyle) -> pl.Series:
        """Return text in which no mark of the style has its meaning."""
        if style.escape:
            mark = style.escape.decode()
            marks = [mark] if style.quote else [mark, style.separator.decode()]
            pattern = "|".join([*map(re.escape, marks)])
            if not style.quote:
                pattern = rf"\r\n|\r|\n|{pattern}"
            return values.str.replace_all(f"({pattern})", f"{mark}${{1}}")
        if not style.quote:
            self._refuse_marks(values, style)
        return values

    def _refuse_marks(self, values: pl.Series, style: TextStyle) -> None:
        separator = style.separator.decode()
        has_mark = values.str.contains_any([separator, "\r", "\n"]).fill_null(False)
        if has_mark.any():
            value = values[int(has_mark.arg_true()[0])]
            raise InputError(
                f"{self._path}: column {values.name!r} is {quote_value(value)}, which "
                f"text separated by {separator!r} without quotes cannot hold: expected "
                "the name of a Parquet file, OUTPUT.parquet"
            )


def _as_text(values: pl.Series) -> pl.Series:
    """Return a kept column as text; lists and structures as JSON."""
    if values.dtype.is_nested():
        documents = [
            None
            if value is None
            else json.dumps(value, ensure_ascii=False, default=str)
            for value in values.to_list()
        ]
        return pl.Series(values.name, documents, pl.String)
    try:
        return values.cast(pl.String)
    except pl.exceptions.PolarsError:
        raise InputError(
            f"column {values.name!r} to keep holds {values.dtype} that is no text: "
            "expected the name of a Parquet file, OUTPUT.parquet"
        ) from None


class _ParquetRows:
    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._writer: Any = None

    def __enter__(self) -> "_ParquetRows":
        return self

    def __exit__(self, *exc: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(
        self,
        kept: Sequence[pl.Series],
        scores: np.ndarray | pl.Series,
        style: TextStyle,
    ) -> None:
        columns = {values.name: values for values in kept}
        columns[SCORE] = pl.Series(SCORE, scores, pl.Float32)
        table = pl.DataFrame(columns).to_arrow()
        if self._writer is None:
            self._writer = pa_parquet.ParquetWriter(self._file, table.schema)
        try:
            self._writer.write_table(table.cast(self._writer.schema))
        except (pa.ArrowException, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{self._path}: the files have columns of other types ({reason}): "
                "expected one type for each column that is kept"
            ) from None
