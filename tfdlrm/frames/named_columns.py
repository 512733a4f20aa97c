"""The columns of a frame by their names, whatever library it is of."""

from collections.abc import Collection, Mapping, Set
from typing import Any

import numpy as np

from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.base.plain_text import shorten

_EXPECTED = (
    "a DataFrame of pandas or Polars, a table of PyArrow, a dictionary of columns, a "
    "list of dictionaries, or an array of rows and columns"
)


class NamedColumns:
    """The columns of a frame, as its library holds them.

    A name that is a whole number is taken as text: the column 0 is `0`.

    Args:
        frame: What `FeatureEncoder` takes, except `tf.data`.

    Raises:
        InputError: If it is no such frame.
    """

    def __init__(self, frame: Any) -> None:
        labels, self._columns = _labels_and_columns(frame)
        self._labels = labels
        self._names = [_as_text(label) for label in labels]

    def all_names(self) -> list[str]:
        """Return the names of all columns.

        Raises:
            InputError: If one is no text, or is there twice.
        """
        for label, name in zip(self._labels, self._names, strict=True):
            if name is None:
                raise InputError(
                    f"the frame has the column name {label!r} of type "
                    f"{type(label).__name__}, expected text: rename it, for example by "
                    "frame.columns = [...]"
                )
        names = [name for name in self._names if name is not None]
        for name in dict.fromkeys(names):
            self._require_once(name)
        return names

    def known_names(self) -> list[str]:
        """Return the names that are text, in order."""
        return [name for name in self._names if name is not None]

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> Any:
        """Return a column.

        Raises:
            InputError: If there is none of this name, or there are several.
        """
        if name not in self._names:
            names = self.known_names()
            listed = ", ".join(map(repr, names[:20])) or "none"
            more = ", …" if len(names) > 20 else ""
            raise InputError(
                f"the frame has no column {name!r}, expected one: it has "
                f"{listed}{more}{did_you_mean(name, names)}"
            )
        self._require_once(name)
        return self._columns[self._names.index(name)]

    def _require_once(self, name: str) -> None:
        positions = [
            position for position, other in enumerate(self._names) if other == name
        ]
        if len(positions) > 1:
            raise InputError(
                f"the frame has several columns {name!r}, at positions "
                f"{', '.join(map(str, positions))}, expected one: rename or drop the "
                "others"
            )

    def num_rows(self, names: Collection[str]) -> dict[str, int]:
        """Return the number of rows of some columns."""
        return {name: num_rows_of(self[name], f"column {name!r}") for name in names}


def width_of_array(frame: Any) -> int | None:
    """Return the number of columns of an array without names; `None` for others."""
    if isinstance(frame, np.ndarray) and frame.ndim == 2:
        return int(frame.shape[1])
    return None


def _as_text(label: Any) -> str | None:
    if isinstance(label, str):
        return str(label)
    if isinstance(label, int | np.integer) and not isinstance(label, bool):
        return str(int(label))
    return None


def _labels_and_columns(frame: Any) -> tuple[list[Any], list[Any]]:
    """Return the names of columns as the library has them, and the columns."""
    if isinstance(frame, Mapping):
        return [*frame], [*frame.values()]
    if hasattr(frame, "get_columns"):  # Polars
        return [*frame.columns], frame.get_columns()
    if hasattr(frame, "column_names") and hasattr(frame, "columns"):  # PyArrow
        return [*frame.column_names], [*frame.columns]
    if hasattr(frame, "iloc") and hasattr(frame, "columns"):  # pandas
        # By position, since two columns may have one name.
        positions = range(len(frame.columns))
        return [*frame.columns], [frame.iloc[:, position] for position in positions]
    if isinstance(frame, list | tuple) and all(
        isinstance(row, Mapping) for row in frame
    ):
        names = list(dict.fromkeys(name for row in frame for name in row))
        return names, [[row.get(name) for row in frame] for name in names]
    if isinstance(frame, np.matrix):
        frame = np.asarray(frame)  # whose columns have one dimension
    if isinstance(frame, np.ndarray | list | tuple):
        return _columns_of_array(frame)
    return _other_labels_and_columns(frame)


def _other_labels_and_columns(frame: Any) -> tuple[list[Any], list[Any]]:
    if hasattr(frame, "collect_schema"):
        raise _refusal(frame, "call .collect() first")
    if hasattr(frame, "tocsr"):
        raise _refusal(frame, "a sparse matrix has to become dense by .toarray()")
    if hasattr(frame, "to_frame"):  # a Series
        raise _refusal(frame, "one row is frame.iloc[[0]], one column frame[[name]]")
    if hasattr(frame, "__arrow_c_stream__"):
        import pyarrow as pa

        return _labels_and_columns(pa.table(frame))
    if hasattr(frame, "__array__"):
        return _columns_of_array(np.asarray(frame))
    raise _refusal(frame, "convert it")


def _columns_of_array(rows: Any) -> tuple[list[Any], list[Any]]:
    try:
        # Of a list of rows, Python's own values: NumPy would make 1 and "a" two texts.
        is_array = isinstance(rows, np.ndarray)
        array = rows if is_array else np.array(rows, dtype=object)
    except ValueError as error:  # rows of different lengths
        raise _refusal(rows, f"its rows are no array ({error})") from None
    if array.dtype.names:
        return [*array.dtype.names], [array[name] for name in array.dtype.names]
    if array.ndim != 2:
        raise InputError(
            f"the frame is an array of shape {array.shape}, expected two dimensions, "
            "rows and columns. Reshape your data using array.reshape(-1, 1) if it is "
            "one column, array.reshape(1, -1) if it is one row"
        )
    names = [f"x{number}" for number in range(array.shape[1])]
    return names, [*array.T]


def _refusal(frame: Any, fix: str) -> InputError:
    text = shorten(" ".join(repr(frame).split()), 40)
    return InputError(
        f"the frame is {text} of type {type(frame).__name__}, expected {_EXPECTED}: "
        f"{fix}"
    )


def num_rows_of(column: Any, title: str) -> int:
    """Return the number of rows of a column, or of a label.

    Raises:
        InputError: If it is no column.
    """
    try:
        if not isinstance(column, str | bytes | Mapping | Set):
            if hasattr(column, "__array__") and not hasattr(column, "__len__"):
                column = np.asarray(column)
            shape = getattr(column, "shape", None)
            return int(shape[0]) if shape else len(column)
    except (TypeError, IndexError):
        pass
    raise InputError(
        f"{title} is {shorten(repr(column), 40)} of type {type(column).__name__}, "
        "expected a list or an array of its rows: write [value] for a single row"
    )
