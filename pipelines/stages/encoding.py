"""Typed rows become ids, and each row goes to the bucket that becomes its shard.

Where the tables of all columns do not fit in memory at once, all but the last columns
are encoded in passes of their own, which keep their ids on disk.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipelines.ids.coverage import Coverage
from pipelines.ids.dialects import Dialect
from pipelines.ids.vocabulary import Table
from pipelines.logs.columns import Columns
from pipelines.stages.buckets import Buckets
from pipelines.stages.journal import Journal
from pipelines.stages.piece_encoding import EncodedPiece, PieceEncoder, table_groups
from pipelines.stages.spill import Spill
from pipelines.stages.split import Split
from tfdlrm.base.kept_files import KeptFile, keep
from tfdlrm.base.parallel import map_in_order
from tfdlrm.base.progress import stage
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.schema import CategoricalFeature

_TABLES_SHARE = 2
"""The part of the memory budget, as one divided by this, for tables of ids."""

_WAITING_SHARE = 8
"""The part for rows that wait to be written to their buckets."""

_WRITE_BYTES = 2**23
"""A write to a bucket of more than this costs as much a row, and makes others wait."""


class Encoder:
    """The stage that encodes; it goes on after what the journal has of it.

    Args:
        spill: The typed rows.
        split: Where they are cut.
        columns: What the columns are.
        features: The categorical columns.
        rule: The dialect, which has their ids.
        buckets: The buckets of each split.
        coverage: Where unknown and missing values are counted.
        directory: The data set directory, which has the vocabularies already.
        journal: What an earlier run has finished.
        budget: Bytes of memory to use, about.
    """

    def __init__(
        self,
        spill: Spill,
        split: Split,
        columns: Columns,
        features: Sequence[CategoricalFeature],
        rule: Dialect,
        buckets: Sequence[Buckets],
        coverage: Coverage,
        directory: Path,
        journal: Journal,
        budget: int,
    ) -> None:
        self._spill, self._buckets = spill, buckets
        self._directory, self._journal = directory, journal
        self._columns = columns
        self._pieces = PieceEncoder(columns, split, tuple(buckets), coverage)
        self._features = {feature.name: feature for feature in features}
        self._rule, self._coverage = rule, coverage
        self._starts = spill.starts
        sizes = {name: rule.table_bytes(directory, name) for name in self._features}
        self._groups = table_groups(sizes, budget // _TABLES_SHARE)
        num_buckets = sum(bucket.num_buckets for bucket in buckets)
        self._waiting_bytes = min(budget // _WAITING_SHARE, num_buckets * _WRITE_BYTES)

    def run(self) -> dict[str, int]:
        """Encode every row; returns the positive rows of each split."""
        done = self._journal.last("encoded")
        kept = self._journal.kept()
        for bucket in self._buckets:
            bucket.restore(kept)
        if done is None:
            positives = dict.fromkeys((bucket.split for bucket in self._buckets), 0)
            done = {"pieces": 0, "positives": positives}
        else:
            self._coverage.restore(done["coverage"])
        if done["pieces"] == len(self._spill.pieces):
            return done["positives"]
        for group in self._groups[:-1]:
            self._keep_ids(group, done["pieces"])
        return self._fill_buckets(done["pieces"], done["positives"])

    def _keep_ids(self, names: Sequence[str], first: int) -> None:
        """The pass over some columns whose ids stay on disk meanwhile."""
        kept = self._journal.entries("ids")
        groups = [list(group) for group in self._groups]
        # With another memory budget the columns were in other groups.
        if all(each["names"] in groups for each in kept):
            done = [each["pieces"] for each in kept if each["names"] == [*names]]
            first = max([first, *done])
        if first == len(self._spill.pieces):
            return
        tables = [self._table(name) for name in names]

        def keep_ids(number: int) -> list[KeptFile]:
            frame = self._spill.read(number, names)
            files = []
            for name, ids in self._pieces.ids(frame, names, tables).items():
                path = self._ids_path(number, name)
                np.save(path, ids)
                files.append(keep(path))
            return files

        with stage(f"ids of {names[0]} to {names[-1]}", self._starts[-1]) as advance:
            todo = range(first, len(self._spill.pieces))
            kept_files = map_in_order(keep_ids, todo)
            for number, files in zip(todo, kept_files, strict=True):
                entry = {"names": [*names], "pieces": number + 1}
                entry["files"] = self._journal.note(files)
                self._journal.add("ids", entry)
                advance(self._starts[number + 1], self._starts[number + 1])

    def _fill_buckets(self, first: int, positives: dict[str, int]) -> dict[str, int]:
        tables = [self._table(name) for name in self._groups[-1]]
        kept = self._journal.kept()
        todo = range(first, len(self._spill.pieces))
        written = first
        with stage("encode rows", self._starts[-1]) as advance:
            pieces = map_in_order(lambda n: self._encode(n, tables, kept), todo)
            for number, piece in zip(todo, pieces, strict=True):
                for bucket, parts, count, counts in zip(
                    self._buckets,
                    piece.parts,
                    piece.positives,
                    piece.counts,
                    strict=True,
                ):
                    bucket.append(parts)
                    positives[bucket.split] += count
                    self._coverage.add(bucket.split, counts)
                waiting = sum(bucket.waiting_bytes for bucket in self._buckets)
                if waiting >= self._waiting_bytes or number == todo[-1]:
                    self._flush(written, number + 1, positives)
                    written = number + 1
                advance(self._starts[number + 1], self._starts[number + 1])
        return positives

    def _flush(self, start: int, end: int, positives: dict[str, int]) -> None:
        files = [file for bucket in self._buckets for file in bucket.flush()]
        released = [
            path
            for number in range(start, end)
            for path in (
                self._spill.pieces[number],
                *(self._ids_path(number, name) for name in self._kept()),
            )
        ]
        entry = {
            "pieces": end,
            "positives": dict(positives),
            "coverage": self._coverage.to_json(),
            "files": self._journal.note(files),
            "released": [self._journal.name(path) for path in released],
        }
        self._journal.add("encoded", entry)
        for path in released:
            path.unlink(missing_ok=True)

    def _encode(
        self, number: int, tables: Sequence[Table], kept: Mapping[Path, KeptFile]
    ) -> EncodedPiece:
        frame = self._spill.read(number)
        paths = {name: self._ids_path(number, name) for name in self._kept()}
        ids = {
            name: np.load(io.BytesIO(kept[path].read())) for name, path in paths.items()
        }
        ids |= self._pieces.ids(frame, self._groups[-1], tables)
        return self._pieces.encode(frame, ids, self._starts[number])

    def _kept(self) -> list[str]:
        """The names under which earlier passes kept ids."""
        return self._pieces.kept_names(self._groups[:-1])

    def _table(self, name: str) -> Table:
        path = vocabulary_path(self._directory, name)
        if file := self._journal.kept().get(path):  # the hash dialect has none
            file.check()
        return self._rule.table(self._directory, self._features[name])

    def _ids_path(self, number: int, name: str) -> Path:
        names = self._columns.categorical_features
        (group,) = (group for group in self._groups if name in group)
        # With another memory budget the columns are in other groups.
        first, last, position = (names.index(n) for n in (group[0], group[-1], name))
        suffix = f".{first}-{last}.{position}.npy"
        return self._spill.pieces[number].with_suffix(suffix)
