"""What a run has finished, so that the next one goes on from there."""

import json
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Journal:
    """Lines of JSON in a file, one for each finished piece of work.

    A line is written after the work that it stands for. So whatever is on disk without
    a line, a line cut short too, may be half done and is done again.

    Args:
        path: The file; it may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, list[Entry]] = {}
        if path.exists():
            self._load()

    def _load(self) -> None:
        text = self._path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            with self._path.open("rb+") as file:
                file.truncate(len(whole))
        for line in whole.splitlines():
            kind, entry = json.loads(line)
            self._entries.setdefault(kind, []).append(entry)

    def add(self, kind: str, entry: Entry) -> None:
        """Write down a finished piece of work of some kind."""
        line = json.dumps([kind, entry], separators=(",", ":")) + "\n"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)
        self._entries.setdefault(kind, []).append(entry)

    def entries(self, kind: str) -> list[Entry]:
        """Everything of that kind, in order."""
        return list(self._entries.get(kind, []))

    def count(self, kind: str) -> int:
        """How many of that kind there are."""
        return len(self._entries.get(kind, ()))

    def last(self, kind: str) -> Entry | None:
        """The newest of that kind."""
        entries = self._entries.get(kind)
        return entries[-1] if entries else None
