"""What a run has finished, so that the next one goes on from there."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import google_crc32c

from tfdlrm.base.kept_files import KeptFile
from tfdlrm.base.parallel import map_in_order
from tfdlrm.base.storage import sync

Entry = dict[str, Any]


class Journal:
    """Lines of JSON in a file, one for each finished piece of work.

    A line is written after the work that it stands for is on the disk, and is on the
    disk itself before `add` returns. So whatever is there without a line may be half
    done and is done again. Each line ends with a checksum of all lines up to it: what
    follows a damaged or lost line is not believed.

    Under `files` an entry has the files that its work wrote, as `note` describes them,
    and under `released` the names of those that are needed no longer. `go_back` takes
    back the lines whose files are not there any more.

    Args:
        path: The file; it may not exist yet.

    Attributes:
        damage: What is wrong with the first line that is not whole, in words; the file
            then ends before it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[tuple[str, Entry]] = []
        # Asked for each raw file, of which a folder may have thousands.
        self._by_kind: dict[str, list[Entry]] = {}
        self._ends = [0]  # where each line ends in the file, in bytes
        self._checksums = [0]
        self.damage: str | None = None
        if path.exists():
            self._load()

    def _load(self) -> None:
        text = self._path.read_bytes()
        for line in text.splitlines(keepends=True):
            if not self._take(line):
                number = len(self._lines) + 1
                self.damage = f"{self._path}, line {number} is damaged or cut short"
                self._cut(len(self._lines))
                return

    def _take(self, line: bytes) -> bool:
        """Take in a line of the file; returns whether it is whole."""
        try:
            kind, entry, checksum = json.loads(line)
        except (ValueError, TypeError, RecursionError):
            return False
        if not line.endswith(b"\n") or line != self._line(kind, entry).encode():
            return False
        self._append(kind, entry, checksum, len(line))
        return True

    def _line(self, kind: str, entry: Entry) -> str:
        text = json.dumps([kind, entry], separators=(",", ":"))
        checksum = google_crc32c.extend(self._checksums[-1], text.encode())
        return f"{text[:-1]},{checksum}]\n"

    def _append(self, kind: str, entry: Entry, checksum: int, num_bytes: int) -> None:
        self._lines.append((kind, entry))
        self._by_kind.setdefault(kind, []).append(entry)
        self._ends.append(self._ends[-1] + num_bytes)
        self._checksums.append(checksum)

    def _cut(self, num_lines: int) -> None:
        """Forget all lines but the first."""
        for kind, _ in self._lines[num_lines:]:
            self._by_kind[kind].pop()
        del self._lines[num_lines:]
        del self._ends[num_lines + 1 :], self._checksums[num_lines + 1 :]
        os.truncate(self._path, self._ends[-1])
        sync(self._path)

    def add(self, kind: str, entry: Entry) -> None:
        """Write down a finished piece of work of some kind.

        The contents of its files must be on the disk already; see `keep`.
        """
        for directory in {file.path.parent for file in self.files_of(entry)}:
            sync(directory)
        line = self._line(kind, entry)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        checksum = int(line[line.rindex(",") + 1 : -2])
        self._append(kind, entry, checksum, len(line.encode()))

    def note(self, files: Iterable[KeptFile]) -> Entry:
        """Describe files for an entry, by their names as seen from the journal."""
        return {self.name(file.path): [file.num_bytes, file.crc32c] for file in files}

    def name(self, path: Path) -> str:
        """Return the name of a file as seen from the journal."""
        return os.path.relpath(path, self._path.parent)

    def files_of(self, entry: Entry) -> list[KeptFile]:
        """Return the files that an entry has under `files`."""
        files = entry.get("files", {})
        return [self._file(name, described) for name, described in files.items()]

    def kept(self) -> dict[Path, KeptFile]:
        """Return all files that are still needed, as the newest line describes each."""
        return {file.path: file for file in self._needed()}

    def _needed(self) -> dict[KeptFile, int]:
        """Return each file that is still needed, and the line that describes it."""
        needed: dict[str, tuple[list[int], int]] = {}
        for number, (_, entry) in enumerate(self._lines):
            for name, described in entry.get("files", {}).items():
                needed[name] = (described, number)
            for name in entry.get("released", ()):
                needed.pop(name, None)
        return {
            self._file(name, described): number
            for name, (described, number) in needed.items()
        }

    def _file(self, name: str, described: list[int]) -> KeptFile:
        path = os.path.normpath(self._path.parent / name)
        return KeptFile(Path(path), *described)

    def go_back(self) -> list[str]:
        """Take back the lines from the first one on whose files are not whole.

        A file that was released after that line is needed again; where it is gone,
        the lines from its own on are taken back too.

        Returns:
            What is wrong with each file that was lost, in words.
        """
        problems: dict[KeptFile, str | None] = {}
        lost: list[str] | None = None
        while True:
            lines = self._needed()
            files = [file for file in lines if file not in problems]
            found = map_in_order(KeptFile.problem, files)
            problems.update(zip(files, found, strict=True))
            damaged = [file for file in lines if problems[file]]
            if lost is None:  # what is missing later was removed on purpose
                lost = [f"{file.path} {problems[file]}" for file in damaged]
            if not damaged:
                return lost
            self._cut(min(lines[file] for file in damaged))

    def entries(self, kind: str) -> list[Entry]:
        """Everything of that kind, in order."""
        return list(self._by_kind.get(kind, ()))

    def count(self, kind: str) -> int:
        """How many of that kind there are."""
        return len(self._by_kind.get(kind, ()))

    def last(self, kind: str) -> Entry | None:
        """The newest of that kind."""
        entries = self._by_kind.get(kind)
        return entries[-1] if entries else None
