"""The columns of a file that a client sends to a model behind a server.

The server names the columns that its model takes. The rest of a description (separator,
meaning of quotes, spelling of missing values) comes from the columns file that the data
set was prepared with, or from a head line where nothing else is in doubt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.logs.bad_rows import EmptyLogError
from pipelines.logs.columns import Columns, Format
from pipelines.logs.columns_file import load_columns
from pipelines.logs.inputs import input_files
from pipelines.logs.log_file import MissingColumnError
from pipelines.logs.rows_to_score import RowsToScore
from pipelines.logs.text_log import TextLog
from tfdlrm.base.errors import InputError
from tfdlrm.exporting.raw_columns import are_criteos, in_order

_GIVE = "give --columns, the description of the columns that it was prepared with"


@dataclass(frozen=True)
class ClientRows:
    """A description of the rows of an input.

    Args:
        columns: Description of the columns.
        is_described: Whether it comes from a columns file, so that quotes, escapes and
            spellings of missing values are known.
    """

    columns: Columns
    is_described: bool

    @property
    def separators(self) -> dict[str, str | None]:
        """Text between the values of multi-hot columns; `None` for lists."""
        columns = self.columns
        return dict(zip(columns.multi_hot, columns.separators, strict=True))

    def read(self, path: Path, kept: Sequence[str] = ()) -> RowsToScore:
        """Return the rows of a file or folder, with further columns of it."""
        return RowsToScore(path, self.columns, self.is_described, kept)


def client_rows(
    path: Path, names: Sequence[str], description: Path | None
) -> ClientRows:
    """Return the description of the rows that a model takes from a file.

    Args:
        path: The file or folder.
        names: Columns that the model takes.
        description: The columns file, if there is one.

    Raises:
        InputError: If the columns file describes other columns, or there is none and
            the head line of the file does not name the columns.
    """
    if description is not None:
        return ClientRows(_from_file(description, names), True)
    criteo = Columns.criteo()
    for columns in _with_head_line(names):
        if _fits(path, columns):
            return ClientRows(columns, False)
    if set(names) == set(criteo.features):
        return ClientRows(criteo, True)
    order = tuple(in_order(names))
    if are_criteos(names):
        label = criteo.label
        all_names = (label, *order)
        return ClientRows(_text_columns(label, order, "tsv", "\t", all_names), False)
    raise InputError(
        f"{path} has no head line with the names {', '.join(order)}, separated by tabs "
        f"or commas: {_GIVE}"
    )


def _with_head_line(names: Sequence[str]) -> list[Columns]:
    label = "label" if "label" not in names else ""
    return [
        _text_columns(label, names, "tsv", "\t"),
        _text_columns(label, names, "csv", ","),
    ]


def _text_columns(
    label: str,
    features: Sequence[str],
    text_format: Format,
    separator: str,
    names: tuple[str, ...] | None = None,
) -> Columns:
    """Return columns whose text is sent unchanged, whatever it means."""
    return Columns(
        label, (), tuple(features), format=text_format, separator=separator, names=names
    )


def _fits(path: Path, columns: Columns) -> bool:
    """Return whether the first file that is not empty names the columns at its head."""
    for file in input_files(path):
        try:
            TextLog(file, columns, labelled=False, is_described=False)
        except MissingColumnError:
            return False
        except EmptyLogError:
            continue
        return True
    return True


def _from_file(description: Path, names: Sequence[str]) -> Columns:
    columns = load_columns(description)
    unmatched = set(columns.raw_columns).symmetric_difference(names)
    if unmatched:
        raise InputError(
            f"{description} describes other columns than the model takes: only one of "
            f"both has {', '.join(sorted(unmatched))}; {_GIVE}"
        )
    return columns
