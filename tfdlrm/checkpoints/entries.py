"""Arrays in one file, piece by piece and checked on the way back: a checkpoint's body.

A piece is a JSON header and its contents, each a record with a checksum as in a
TFRecord file. The last record says how many there are, so that a file that was cut
short is noticed too, and what they belong to, which a file of another place does not.
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
"""About what one piece of a table takes in a checkpoint."""

MAX_COPY_BYTES = 1 << 28
"""What may be copied in memory to be written later; where more has changed, the tables
are written anew."""


@dataclass(frozen=True)
class Piece:
    """Some rows of an array, or all of it.

    Args:
        name: Which array.
        values: The rows, or the whole array.
        rows: Their numbers, int64 or a range of them; `None` for the whole.
    """

    name: str
    values: np.ndarray
    rows: np.ndarray | range | None = None


class DamagedError(Exception):
    """A file of pieces that is not what was written."""


def write_pieces(path: Path, pieces: Iterable[Piece], owner: str = "") -> None:
    """Write a file, and return when it is on the disk.

    Args:
        path: The file.
        pieces: What it is to hold; drawn one by one, so that they need never be in
            memory together.
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
        owner: What it has to belong to; files of earlier releases do not say.

    Raises:
        DamagedError: If it cannot be read, is not whole, or belongs to something else;
            pieces may have been given before.

    Example:

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "file"
    >>> write_pieces(path, [Piece("a", np.array([1.5]), np.array([7]))])
    >>> [(each.name, each.rows.tolist(), each.values.tolist())
    ...  for each in read_pieces(path)]
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
        # Without the advice that it gives for the shards of a data set.
        raise DamagedError(str(error).partition(", expected")[0]) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path.name} is no file of pieces: {error}") from None
    if header["pieces"] != number:
        raise DamagedError(f"{path.name} has {number} of {header['pieces']} pieces")
    if header.get("owner", owner) != owner:
        raise DamagedError(f"{path.name} is that of {header['owner']}")
