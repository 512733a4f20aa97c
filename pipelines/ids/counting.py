"""Count the values of one column in bounded memory, however many rows there are."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipelines.ids.rare_counting import RareValues
from tfdlrm.base.checksums import file_crc32c
from tfdlrm.base.kept_files import KeptFile

_BATCH_VALUES = 2**23
_BYTES_PER_VALUE = 200
"""Peak memory for each distinct 32-bit value that is counted, measured."""

_NUM_PARTS = 64


@dataclass(frozen=True)
class Vocabulary:
    """The values of one column that have an id.

    Args:
        values: Columns `value`, `id` (Int32) and `frequency` (Int64), sorted by id; and
            `since` and `last_day` (Int32) where a data set extends another.
        num_distinct: Number of distinct values that were counted.
        rare: The counts of the values without an id.
        num_new: Number of values that had no id before; `None` if nothing is extended.
        forgotten: The values that have lost their id.
    """

    values: pl.DataFrame
    num_distinct: int
    rare: RareValues | None = None
    num_new: int | None = None
    forgotten: pl.Series | None = None

    @property
    def num_kept(self) -> int:
        """Number of values that have an id."""
        return len(self.values) - self.values["value"].null_count()

    @property
    def num_forgotten(self) -> int | None:
        """Number of values that have lost their id, if something is extended."""
        return None if self.forgotten is None else len(self.forgotten)


class ValueCounter:
    """Count how often each value of a column occurs, and note its first row.

    Rows are counted in batches and the counts of the batches are added up. When the
    counts outgrow the memory, they go to disk in parts chosen by the hash of the value,
    and the parts are added up one by one at the end. The result is the same either way.

    Counts of earlier data sets are added up with them, and go the same way.

    Args:
        memory_bytes: Memory that counting may take, in bytes, without the result
            itself.
        work: Directory for the files of the parts, which are removed at the end.
        last_day: The day on which the rows are seen, where earlier counts are added.

    Example:

    >>> counter = ValueCounter(memory_bytes=2**30, work=Path("."))
    >>> counter.add(pl.Series([9, None, 7, 9], dtype=pl.UInt32))
    >>> counter.counts().rows()
    [(9, 2, 0), (7, 1, 2)]
    """

    def __init__(
        self, memory_bytes: int, work: Path, last_day: int | None = None
    ) -> None:
        self.num_distinct = 0
        self._max_values = max(1, memory_bytes // _BYTES_PER_VALUE)
        self._work, self._last_day = work, last_day
        self._num_rows = self._batch_start = 0
        self._batch: list[pl.DataFrame] = []
        self._batch_cost = 0
        self._batch_counts: list[pl.DataFrame] = []
        self._parts: list[list[KeptFile]] = [[] for _ in range(_NUM_PARTS)]

    def add(self, values: pl.Series) -> None:
        """Count the values of the next rows, except null."""
        frame = values.rename("value").to_frame()
        # Row numbers within the batch, since Polars counts rows in 32 bits.
        offset = self._num_rows - self._batch_start
        self._batch.append(frame.with_row_index("first", offset=offset))
        self._num_rows += len(values)
        self._batch_cost += _cost(values)
        if self._batch_cost >= min(_BATCH_VALUES, self._max_values):
            self._count_batch()

    def add_earlier(self, counts: pl.DataFrame) -> None:
        """Add the counts of values in earlier data sets.

        Args:
            counts: Columns `value`, `frequency`, `id` (null if it has none), `since`
                and `last_day`.
        """
        if counts.height:
            first = pl.lit(None, pl.Int64).alias("first")
            columns = [*_NO_COUNTS.columns, *EARLIER]
            self._take(counts.with_columns(first).select(columns))

    def counts(
        self,
        min_frequency: int = 1,
        rare: RareValues | None = None,
        is_forgotten: pl.Expr | None = None,
    ) -> pl.DataFrame:
        """Return all counts and set `num_distinct`; call it when all rows are added.

        Args:
            min_frequency: Values that occur less often are left out, unless they have
                an id.
            rare: Takes the counts that are left out.
            is_forgotten: Counts for which this is true are dropped.

        Returns:
            Columns `value`, `frequency` (Int64) and `first` (Int64), the number of the
            value's first row, by which they are sorted. Where earlier counts were
            added, there are their columns too, and `first` is null for values that no
            row has.
        """
        self._count_batch()
        is_kept = pl.col("frequency") >= min_frequency
        columns = ["value", "frequency"]
        if self._last_day is not None:
            is_kept |= pl.col("id").is_not_null()
            columns.append("last_day")
        kept_counts = []
        for part in self._counts_of_parts():
            if is_forgotten is not None:
                part = part.filter(~is_forgotten)
            self.num_distinct += part.height
            kept_counts.append(part.filter(is_kept))
            if rare is not None:
                rare.add(part.filter(~is_kept).select(columns))
        return pl.concat(kept_counts).sort("first")

    def rare_values(self) -> RareValues:
        """Return an empty collection of counts, with the memory that counting has."""
        return RareValues(self._max_values, self._work)

    def _counts_of_parts(self) -> Iterator[pl.DataFrame]:
        if not any(self._parts):
            yield self._total()
            return
        self._spill()
        for files in filter(None, self._parts):
            yield _add_up([pl.read_ipc(io.BytesIO(file.read())) for file in files])
            for file in files:
                file.path.unlink()

    def _count_batch(self) -> None:
        if not self._batch:
            return
        rows = pl.concat(self._batch)
        self._batch, self._batch_cost = [], 0
        counts = (
            rows.lazy()
            .drop_nulls()
            .group_by("value")
            .agg(
                pl.len().cast(pl.Int64).alias("frequency"),
                pl.col("first").min().cast(pl.Int64) + self._batch_start,
            )
            .collect(engine="streaming")
        )
        self._batch_start = self._num_rows
        if self._last_day is not None:
            no_id, last_day = pl.lit(None, pl.Int32), pl.lit(self._last_day, pl.Int32)
            counts = counts.with_columns(id=no_id, since=no_id, last_day=last_day)
        self._take(counts)

    def _take(self, counts: pl.DataFrame) -> None:
        """Take in the counts of a batch, each of whose values it has once."""
        self._batch_counts.append(counts)
        # Adding up only when the counts have doubled keeps the work linear.
        if (
            sum(counts.height for counts in self._batch_counts[1:])
            >= self._batch_counts[0].height
        ):
            self._batch_counts = [self._total()]
        if (
            sum(_cost(counts["value"]) for counts in self._batch_counts)
            >= self._max_values
        ):
            self._spill()

    def _total(self) -> pl.DataFrame:
        return _add_up(self._batch_counts) if self._batch_counts else _NO_COUNTS

    def _spill(self) -> None:
        part = (pl.col("value").hash() % _NUM_PARTS).alias("part")
        parts = self._total().with_columns(part).partition_by("part", as_dict=True)
        self._batch_counts = []
        for (part_number,), counts in parts.items():
            files = self._parts[part_number]
            path = self._work / f"counts-{part_number:02d}-{len(files):04d}.arrow"
            counts.drop("part").write_ipc(path)
            files.append(KeptFile(path, path.stat().st_size, file_crc32c(path)))


EARLIER = ("id", "since", "last_day")
"""Columns of counts that take part in a chain of data sets."""

_NO_COUNTS = pl.DataFrame(
    schema={"value": pl.UInt32, "frequency": pl.Int64, "first": pl.Int64}
)


def _add_up(counts: list[pl.DataFrame]) -> pl.DataFrame:
    if len(counts) == 1:
        return counts[0]
    return (
        pl.concat(counts)
        .lazy()
        .group_by("value")
        .agg(
            pl.col("frequency").sum(),
            pl.col("first").min(),
            *(pl.col(name).max() for name in EARLIER if name in counts[0].columns),
        )
        .collect(engine="streaming")
    )


def _cost(values: pl.Series) -> int:
    """Return the number of 32-bit values that take as much memory as `values`."""
    bytes_more = max(0, int(values.estimated_size()) - 8 * len(values))
    return len(values) + 2 * bytes_more // _BYTES_PER_VALUE


def with_ids(counts: pl.DataFrame, first_id: int) -> pl.DataFrame:
    """Return `Vocabulary.values` from counts that are in the order of the ids."""
    return counts.with_row_index("id", offset=first_id).select(
        "value", pl.col("id").cast(pl.Int32), "frequency"
    )
