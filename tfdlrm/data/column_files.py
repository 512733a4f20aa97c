"""Names of the files that belong to one column of a data set or a model."""

import hashlib
import re
from pathlib import Path

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.data.schema import VOCABULARY_FOLDER

_UNSAFE = re.compile(r"[%/\\*?\[\]{}\x00-\x1f\x7f-\x9f\ud800-\udfff]|^\.")
"""Characters that end a name, leave a folder, or are expanded by libraries."""

_SAFE = r"[^%/\\*?\[\]{}\x00-\x1f\x7f-\x9f\ud800-\udfff]"
_ESCAPED = re.compile(rf"(?!\.)(?:{_SAFE}|%[0-9A-F]{{2}})*(?:%\.[0-9a-f]{{64}})?")
"""The pattern of every file name of a column."""

_MAX_BYTES = 200
"""A file system allows 255; suffixes and names of temporary files need the rest."""


def file_name(column: str) -> str:
    """Return the name for files of a column; no two columns have the same.

    Letters, digits and most punctuation stay as they are. Slashes, backslashes, `%`,
    control characters, a leading dot and the characters of glob patterns become `%` and
    two hexadecimal digits for each byte in UTF-8. A name too long for file systems is
    cut, and ends with `%.` and the SHA-256 of the whole name.

    Example:

    >>> file_name("user_id"), file_name("size [cm]"), file_name("../x")
    ('user_id', 'size %5Bcm%5D', '%2E.%2Fx')
    """
    escaped = _UNSAFE.sub(lambda match: _percent(match[0]), column)
    if len(_bytes(escaped)) <= _MAX_BYTES:
        return escaped
    digest = hashlib.sha256(_bytes(column)).hexdigest()
    beginning = _bytes(column)[: _MAX_BYTES // 6].decode("utf-8", errors="ignore")
    return f"{_UNSAFE.sub(lambda match: _percent(match[0]), beginning)}%.{digest}"


def vocabulary_file(folder: Path, column: str) -> Path:
    """Return the file of a column in a folder of vocabularies.

    The release before did not encode the column's name. Such a file is used if its name
    cannot be that of another column's file.
    """
    path = folder / f"{file_name(column)}.parquet"
    old_path = folder / f"{column}.parquet"
    if "/" in column or "\0" in column or _may_be_escaped(column):
        return path
    return old_path if not path.is_file() and _is_file(old_path) else path


def vocabulary_path(directory: Path, column: str) -> Path:
    """Return the vocabulary of a column of a data set or of an exported model.

    Args:
        directory: The directory that holds `vocabulary/`.
        column: Name of the column.
    """
    return vocabulary_file(storage.at(directory) / VOCABULARY_FOLDER, column)


def require_own_file(path: Path, column: str) -> None:
    """Refuse to write to the file of another column.

    Args:
        path: A file that is about to be written for `column`.
        column: Name of the column.

    Raises:
        InputError: If to the file system the name is the same as that of an existing
            file with another spelling, such as `User.parquet` for `user.parquet`.
    """
    if not storage.is_remote(path) and path.exists():
        names = [entry.name for entry in path.parent.iterdir()]
        if path.name not in names:
            raise InputError(
                f"{path} for column {column!r} is another column's file on this file "
                "system, which does not distinguish their names: rename one of the "
                "columns, or write elsewhere"
            )


def _may_be_escaped(name: str) -> bool:
    """Return whether `file_name` may have returned this name."""
    return len(_bytes(name)) <= _MAX_BYTES and bool(_ESCAPED.fullmatch(name))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a longer name than the file system takes
        return False


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in _bytes(character))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogatepass")
