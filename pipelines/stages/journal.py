"""The finished steps of a run, so that the next run can resume."""

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
    """Lines of JSON in a file, one for each finished step.

    A line is written when the files of its step are on the disk, and is on the disk
    itself before `add` returns. So files without a line may be incomplete, and their
    step is done again. Each line ends with a checksum of all lines up to it: lines
    after a damaged or lost one are not used.

    An entry has the files of its step under `files`, as `note` describes them, and the
    names of files that are no longer needed under `released`. `go_back` removes the
    lines whose files are gone or damaged.

    Args:
        path: The file; it need not exist.

    Attributes:
        damage: What is wrong with the first damaged line, in words; the file then ends
            before it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[tuple[str, Entry]] = []
        # Looked up for each raw file, of which a folder may have thousands.
        self._by_step: dict[str, list[Entry]] = {}
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
        """Take in a line of the file; return whether it is undamaged."""
        try:
            step, entry, checksum = json.loads(line)
        except (ValueError, TypeError, RecursionError):
            return False
        if not line.endswith(b"\n") or line != self._line(step, entry).encode():
            return False
        self._append(step, entry, checksum, len(line))
        return True

    def _line(self, step: str, entry: Entry) -> str:
        text = json.dumps([step, entry], separators=(",", ":"))
        checksum = google_crc32c.extend(self._checksums[-1], text.encode())
        return f"{text[:-1]},{checksum}]\n"

    def _append(self, step: str, entry: Entry, checksum: int, num_bytes: int) -> None:
        self._lines.append((step, entry))
        self._by_step.setdefault(step, []).append(entry)
        self._ends.append(self._ends[-1] + num_bytes)
        self._checksums.append(checksum)

    def _cut(self, num_lines: int) -> None:
        """Remove all lines after the first `num_lines`."""
        for step, _ in self._lines[num_lines:]:
            self._by_step[step].pop()
        del self._lines[num_lines:]
        del self._ends[num_lines + 1 :], self._checksums[num_lines + 1 :]
        os.truncate(self._path, self._ends[-1])
        sync(self._path)

    def add(self, step: str, entry: Entry) -> None:
        """Write the entry of a finished step.

        The contents of its files must be on the disk already; see `keep`.
        """
        for directory in {file.path.parent for file in self.files_of(entry)}:
            sync(directory)
        line = self._line(step, entry)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        checksum = int(line[line.rindex(",") + 1 : -2])
        self._append(step, entry, checksum, len(line.encode()))

    def note(self, files: Iterable[KeptFile]) -> Entry:
        """Describe files for an entry, by their names as seen from the journal."""
        return {self.name(file.path): [file.num_bytes, file.crc32c] for file in files}

    def name(self, path: Path) -> str:
        """Return the name of a file as seen from the journal."""
        return os.path.relpath(path, self._path.parent)

    def files_of(self, entry: Entry) -> list[KeptFile]:
        """Return the files that an entry has under `files`."""
        files = entry.get("files", {})
        return [self._file(name, file_entry) for name, file_entry in files.items()]

    def needed_files(self) -> dict[Path, KeptFile]:
        """Return all files that are still needed, each as its newest line has it."""
        return {file.path: file for file in self._needed()}

    def _needed(self) -> dict[KeptFile, int]:
        """Return each file that is still needed, with the number of its newest line."""
        needed: dict[str, tuple[list[int], int]] = {}
        for number, (_, entry) in enumerate(self._lines):
            for name, file_entry in entry.get("files", {}).items():
                needed[name] = (file_entry, number)
            for name in entry.get("released", ()):
                needed.pop(name, None)
        return {
            self._file(name, file_entry): number
            for name, (file_entry, number) in needed.items()
        }

    def _file(self, name: str, file_entry: list[int]) -> KeptFile:
        path = os.path.normpath(self._path.parent / name)
        return KeptFile(Path(path), *file_entry)

    def go_back(self) -> list[str]:
        """Remove all lines from the first one whose files are damaged or missing.

        A file that was released after that line is needed again; where it is gone, the
        lines from its own line on are removed too.

        Returns:
            A text for each file that was lost, with what is wrong with it.
        """
        problems: dict[KeptFile, str | None] = {}
        lost_files: list[str] | None = None
        while True:
            lines = self._needed()
            files = [file for file in lines if file not in problems]
            new_problems = map_in_order(KeptFile.problem, files)
            problems.update(zip(files, new_problems, strict=True))
            damaged = [file for file in lines if problems[file]]
            if lost_files is None:  # what is missing later was removed on purpose
                lost_files = [f"{file.path} {problems[file]}" for file in damaged]
            if not damaged:
                return lost_files
            self._cut(min(lines[file] for file in damaged))

    def entries(self, step: str) -> list[Entry]:
        """Return all entries of that name, in order."""
        return list(self._by_step.get(step, ()))

    def count(self, step: str) -> int:
        """Return the number of entries of that name."""
        return len(self._by_step.get(step, ()))

    def last(self, step: str) -> Entry | None:
        """Return the newest entry of that name, if there is one."""
        entries = self._by_step.get(step)
        return entries[-1] if entries else None
