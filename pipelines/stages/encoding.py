"""Encode typed rows, and send each row to the bucket that becomes its shard.

Where the tables of all columns do not fit in memory at once, all groups of columns but
the last one are encoded in passes of their own, which keep their ids on disk.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipelines.ids.column_tables import ColumnTables
from pipelines.ids.vocabulary import Table
from pipelines.stages.journal import Journal
from pipelines.stages.piece_encoding import EncodedPiece, PieceEncoder, table_groups
from pipelines.stages.spill import Spill
from tfdlrm.base.kept_files import KeptFile, keep
from tfdlrm.base.parallel import map_in_order
from tfdlrm.base.progress import stage

_TABLES_SHARE = 2
"""The tables of ids get one part in this many of the memory budget."""

_WAITING_SHARE = 8
"""Rows that wait to be written to their buckets get one part in this many."""

_WRITE_BYTES = 2**23
"""Larger writes to a bucket cost as much a row, and make others wait."""


class Encoder:
    """The stage that encodes; it resumes from the journal.

    Args:
        spill: The typed rows.
        pieces: Encodes a piece of them.
        tables: The tables from values to ids.
        journal: The finished steps, also of an earlier run.
        budget: Memory to use, roughly, in bytes.
    """

    def __init__(
        self,
        spill: Spill,
        pieces: PieceEncoder,
        tables: ColumnTables,
        journal: Journal,
        budget: int,
    ) -> None:
        self._spill, self._pieces = spill, pieces
        self._tables, self._journal = tables, journal
        self._starts = spill.starts
        self._groups = table_groups(tables.sizes, budget // _TABLES_SHARE)
        num_buckets = sum(bucket.num_buckets for bucket in pieces.buckets)
        self._waiting_bytes = min(budget // _WAITING_SHARE, num_buckets * _WRITE_BYTES)

    def run(self) -> dict[str, int]:
        """Encode every row; return the number of positive rows of each split."""
        buckets = self._pieces.buckets
        files = self._journal.needed_files()
        for bucket in buckets:
            bucket.restore(files)
        entry = self._journal.last("encoded")
        if entry is None:
            num_encoded, positives = 0, {bucket.split: 0 for bucket in buckets}
        else:
            num_encoded, positives = entry["pieces"], entry["positives"]
            self._pieces.coverage.restore(entry["coverage"])
        if num_encoded == len(self._spill.pieces):
            return positives
        for group in self._groups[:-1]:
            self._keep_ids(group, num_encoded)
        return self._fill_buckets(num_encoded, positives)

    def _keep_ids(self, names: Sequence[str], num_encoded: int) -> None:
        """Encode one group of columns, and keep their ids on disk until the last pass.

        Args:
            names: The columns.
            num_encoded: Number of pieces whose rows are in their buckets already.
        """
        start = max(num_encoded, self._num_kept(names))
        if start == len(self._spill.pieces):
            return
        tables = [self._tables.load(name) for name in names]

        def write_ids(number: int) -> list[KeptFile]:
            frame = self._spill.read(number, names)
            files = []
            for name, ids in self._pieces.ids(frame, names, tables).items():
                path = self._ids_path(number, name)
                np.save(path, ids)
                files.append(keep(path))
            return files

        with stage(f"ids of {names[0]} to {names[-1]}", self._starts[-1]) as advance:
            numbers = range(start, len(self._spill.pieces))
            files_of_pieces = map_in_order(write_ids, numbers)
            for number, files in zip(numbers, files_of_pieces, strict=True):
                entry = {"names": [*names], "pieces": number + 1}
                entry["files"] = self._journal.note(files)
                self._journal.add("ids", entry)
                advance(self._starts[number + 1], self._starts[number + 1])

    def _num_kept(self, names: Sequence[str]) -> int:
        """Return the number of pieces for which an earlier run has kept these ids."""
        entries = self._journal.entries("ids")
        groups = [list(group) for group in self._groups]
        # With another memory budget the columns were in other groups.
        if any(entry["names"] not in groups for entry in entries):
            return 0
        counts = [entry["pieces"] for entry in entries if entry["names"] == [*names]]
        return max(counts, default=0)

    def _fill_buckets(self, start: int, positives: dict[str, int]) -> dict[str, int]:
        """Encode the last group of columns, and send all rows to their buckets.

        Args:
            start: Number of the first piece.
            positives: The positive rows of each split in the pieces before it.
        """
        buckets = self._pieces.buckets
        tables = [self._tables.load(name) for name in self._groups[-1]]
        kept_files = self._journal.needed_files()
        numbers = range(start, len(self._spill.pieces))
        num_written = start
        with stage("encode rows", self._starts[-1]) as advance:
            pieces = map_in_order(
                lambda n: self._encode(n, tables, kept_files), numbers
            )
            for number, piece in zip(numbers, pieces, strict=True):
                self._append(piece, positives)
                waiting_bytes = sum(bucket.waiting_bytes for bucket in buckets)
                if waiting_bytes >= self._waiting_bytes or number == numbers[-1]:
                    self._flush(num_written, number + 1, positives)
                    num_written = number + 1
                advance(self._starts[number + 1], self._starts[number + 1])
        return positives

    def _append(self, piece: EncodedPiece, positives: dict[str, int]) -> None:
        """Append the rows of a piece to their buckets, and count them."""
        for bucket, parts, num_positive, counts in zip(
            self._pieces.buckets,
            piece.parts,
            piece.positives,
            piece.counts,
            strict=True,
        ):
            bucket.append(parts)
            positives[bucket.split] += num_positive
            self._pieces.coverage.add(bucket.split, counts)

    def _flush(self, start: int, end: int, positives: dict[str, int]) -> None:
        """Write the waiting rows, and remove the pieces from `start` up to `end`."""
        files = [file for bucket in self._pieces.buckets for file in bucket.flush()]
        released = [
            path
            for number in range(start, end)
            for path in (
                self._spill.pieces[number],
                *(self._ids_path(number, name) for name in self._names_of_ids()),
            )
        ]
        entry = {
            "pieces": end,
            "positives": dict(positives),
            "coverage": self._pieces.coverage.to_json(),
            "files": self._journal.note(files),
            "released": [self._journal.name(path) for path in released],
        }
        self._journal.add("encoded", entry)
        for path in released:
            path.unlink(missing_ok=True)

    def _encode(
        self, number: int, tables: Sequence[Table], kept_files: Mapping[Path, KeptFile]
    ) -> EncodedPiece:
        frame = self._spill.read(number)
        paths = {name: self._ids_path(number, name) for name in self._names_of_ids()}
        ids = {
            name: np.load(io.BytesIO(kept_files[path].read()))
            for name, path in paths.items()
        }
        ids |= self._pieces.ids(frame, self._groups[-1], tables)
        return self._pieces.encode(frame, ids, self._starts[number])

    def _names_of_ids(self) -> list[str]:
        """Return the names under which earlier passes kept ids."""
        return self._pieces.names_of_ids(self._groups[:-1])

    def _ids_path(self, number: int, name: str) -> Path:
        names = self._pieces.columns.categorical_features
        (group,) = (group for group in self._groups if name in group)
        # With another memory budget the columns are in other groups.
        start, end, position = (names.index(n) for n in (group[0], group[-1], name))
        suffix = f".{start}-{end}.{position}.npy"
        return self._spill.pieces[number].with_suffix(suffix)
