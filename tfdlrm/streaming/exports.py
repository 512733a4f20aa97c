"""The versions that a stream has exported and keeps, by a file of its directory."""

import hashlib
import json
from pathlib import Path

from tfdlrm.base import storage
from tfdlrm.exporting.versions import remove_version

KEPT_EXPORTS = 3
"""Versions kept of those that the stream exported; a server holds on to the newest."""


class StreamExports:
    """Remembers the exported versions, and removes those long replaced.

    Args:
        directory: The stream's directory.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "exports.json"
        self._checksums = directory / "exports.sha256"
        self._versions: list[str] = []
        self._text = ""
        if not self._file.is_file():
            return
        try:
            self._versions = self._read()
        except (OSError, ValueError) as error:
            # A wrong name would be that of a version which is not ours to remove.
            print(
                f"{self._file} is damaged ({error}): the versions that this stream "
                "exported so far are not removed any more",
                flush=True,
            )

    def add(self, version: Path) -> None:
        """Take note of a version, and remove the ones that it makes too many.

        Raises:
            OSError: If the disk refuses.
        """
        if str(version) not in self._versions:
            self._versions.append(str(version))
        for old in self._versions[:-KEPT_EXPORTS]:
            remove_version(storage.at(old))
        self._versions = self._versions[-KEPT_EXPORTS:]
        before, self._text = self._text, json.dumps(self._versions)
        # Of both texts, since a kill may leave the one before.
        checksums = f"{_sha256(before)}\n{_sha256(self._text)}\n"
        storage.replace_text(self._checksums, checksums)
        storage.replace_text(self._file, self._text)

    def _read(self) -> list[str]:
        text = self._file.read_text(encoding="utf-8")
        if self._checksums.is_file():  # earlier releases wrote none
            written = self._checksums.read_text(encoding="utf-8").split()
            if _sha256(text) not in written:
                raise ValueError(
                    f"its SHA-256 is {_sha256(text)}, expected {written[-1:]}"
                )
        versions = json.loads(text)
        if not isinstance(versions, list):
            raise ValueError(f"it is a {type(versions).__name__}, expected a list")
        self._text = text
        return [str(version) for version in versions]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
