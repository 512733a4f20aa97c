"""Arrays of a checkpoint in one file, written in pieces and checked when read.

A piece is a JSON header and its contents, each a record with a checksum as in a
TFRecord file. The last record has the number of pieces, so that a truncated file is
noticed, and the name of their checkpoint, so that a file of another one is noticed.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tfdlrm.base.errors import InputError
from tfdlrm.data.records import read_records, record_footer, record_header

PIECE_BYTES = 1 << 24
"""Approximate bytes of one piece of a table in a checkpoint."""

MAX_COPY_BYTES = 1 << 28
"""Bytes that may be copied in memory to be written later; if more have changed, the
tables are written again."""


@dataclass(frozen=True)
class Piece:
    """Some rows of an array, or all of it.

    Args:
        name: Name of the array.
        values: The rows, or the whole array.
        rows: Row numbers, int64 or a range; `None` for the whole array.
    """

    name: str
    values: np.ndarray
    rows: np.ndarray | range | None = None


class DamagedError(Exception):
    """A file of pieces that is not what was written."""


def write_pieces(path: Path, pieces: Iterable[Piece], owner: str = "") -> None:
    """Write a file of pieces, and return when it is on the disk.

    Args:
        path: The file.
        pieces: The pieces, taken one by one, so that they need not be in memory
            together.
        owner: Name of the checkpoint or tables that they belong to.

    Raises:
        OSError: If the disk refuses.
    """
    number = 0
    with path.open("wb") as file:
        for piece in pieces:
            number += 1
            header: dict[str, Any] = {
                "name": piece.name,
                "dtype": piece.values.dtype.name,
                "shape": piece.values.shape,
            }
            if isinstance(piece.rows, range):
                header["range"] = [piece.rows.start, piece.rows.stop]
            elif piece.rows is not None:
                header["num_rows"] = len(piece.rows)
            _write(file, json.dumps(header).encode())
            if isinstance(piece.rows, np.ndarray):
                _write(file, piece.rows.astype("<i8").tobytes())
            _write(file, piece.values.tobytes())
        _write(file, json.dumps({"pieces": number, "owner": owner}).encode())
        file.flush()
        os.fsync(file.fileno())


def _write(file: BinaryIO, payload: bytes) -> None:
    for part in (record_header(len(payload)), payload, record_footer(payload)):
        file.write(part)


def read_pieces(path: Path, owner: str = "") -> Iterator[Piece]:
    """Read a file that `write_pieces` wrote.

    Args:
        path: The file.
        owner: The expected owner; files of earlier releases name none.

    Raises:
        DamagedError: If it cannot be read, is incomplete, or has another owner; pieces
            may have been yielded before.

    Example:

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "file"
    >>> write_pieces(path, [Piece("a", np.array([1.5]), np.array([7]))])
    >>> [(piece.name, piece.rows.tolist(), piece.values.tolist())
    ...  for piece in read_pieces(path)]
    [('a', [7], [1.5])]
    """
    number = 0
    payloads = (payload for _, payload in read_records(path))
    try:
        while "pieces" not in (header := json.loads(next(payloads))):
            rows: np.ndarray | range | None = None
            if "range" in header:
                rows = range(*header["range"])
            elif "num_rows" in header:
                rows = np.frombuffer(next(payloads), "<i8")
            values = np.frombuffer(next(payloads), header["dtype"])
            yield Piece(header["name"], values.reshape(header["shape"]), rows)
            number += 1
    except StopIteration:
        raise DamagedError(f"{path.name} ends before its last piece") from None
    except InputError as error:
        # The advice in the message is for the shards of a data set.
        raise DamagedError(str(error).partition(", expected")[0]) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path.name} is no file of pieces: {error}") from None
    if header["pieces"] != number:
        raise DamagedError(f"{path.name} has {number} of {header['pieces']} pieces")
    if header.get("owner", owner) != owner:
        raise DamagedError(f"{path.name} is that of {header['owner']}")
