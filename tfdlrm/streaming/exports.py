"""Versions that a stream exported and keeps, listed in a file of its directory."""

import hashlib
import json
from pathlib import Path

from tfdlrm.base import storage
from tfdlrm.exporting.versions import remove_version

KEPT_EXPORTS = 3
"""Number of the stream's exported versions that stay; a server uses the newest."""


class StreamExports:
    """Remembers the exported versions, and removes old ones.

    Args:
        directory: Directory of the stream.
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
            # A wrong name may be that of a version which the stream must not remove.
            print(
                f"{self._file} is damaged ({error}): the versions that this stream "
                "exported so far are not removed any more",
                flush=True,
            )

    def add(self, version: Path) -> None:
        """Record a version, and remove the oldest beyond `KEPT_EXPORTS`.

        Raises:
            OSError: If the disk refuses.
        """
        if str(version) not in self._versions:
            self._versions.append(str(version))
        for old_version in self._versions[:-KEPT_EXPORTS]:
            remove_version(storage.at(old_version))
        self._versions = self._versions[-KEPT_EXPORTS:]
        old_text, self._text = self._text, json.dumps(self._versions)
        # Checksums of both texts, since after a kill the file may have the old one.
        checksums = f"{_sha256(old_text)}\n{_sha256(self._text)}\n"
        storage.replace_text(self._checksums, checksums)
        storage.replace_text(self._file, self._text)

    def _read(self) -> list[str]:
        text = self._file.read_text(encoding="utf-8")
        if self._checksums.is_file():  # earlier releases wrote none
            checksums = self._checksums.read_text(encoding="utf-8").split()
            if _sha256(text) not in checksums:
                raise ValueError(
                    f"its SHA-256 is {_sha256(text)}, expected {checksums[-1:]}"
                )
        versions = json.loads(text)
        if not isinstance(versions, list):
            raise ValueError("it is no list, as it should be")
        self._text = text
        return [str(version) for version in versions]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
