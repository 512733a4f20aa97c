"""The ids of a chain of data sets, value by value: what extending must agree with."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class PlainColumn:
    """The values of one column through a chain of data sets.

    Args:
        min_frequency: A value gets an id when it was counted this often.
        first_id: Id of the first value.
        by_first_row: Whether new values are numbered by their first row.
        kept: A value that is never forgotten.
    """

    min_frequency: int = 1
    first_id: int = 2
    by_first_row: bool = False
    kept: object = None
    ids: dict = field(default_factory=dict)
    since: dict = field(default_factory=dict)
    counts: Counter = field(default_factory=Counter)
    last_days: dict = field(default_factory=dict)
    num_ids: int = 0
    number: int = -1
    last_day: int = -1
    new: list = field(default_factory=list)

    def add(
        self, values: Sequence, days: int = 1, forget_days: int | None = None
    ) -> None:
        """Count the values of the next data set and number the new ones."""
        self.number += 1
        self.last_day += days
        for value in values:
            if value is not None:
                self.counts[value] += 1
                self.last_days[value] = self.last_day
        for value, day in list(self.last_days.items()):
            is_old = forget_days is not None and day <= self.last_day - forget_days
            if is_old and value != self.kept:
                for table in (self.ids, self.since, self.counts, self.last_days):
                    table.pop(value, None)
        self.new = [
            value
            for value, count in self.counts.items()
            if count >= self.min_frequency and value not in self.ids
        ]
        if self.by_first_row:
            self.new.sort(key=list(values).index)
        else:
            self.new.sort(key=lambda value: (-self.counts[value], value))
        for value in self.new:
            self.ids[value] = self._lowest_free_id()
            self.since[value] = self.number

    def _lowest_free_id(self) -> int:
        taken = set(self.ids.values())
        for number in range(self.first_id, self.first_id + self.num_ids):
            if number not in taken:
                return number
        self.num_ids += 1
        return self.first_id + self.num_ids - 1

    @property
    def rows(self) -> list[tuple]:
        """The rows of the vocabulary: value, id, frequency, since and last day."""
        values = {number: value for value, number in self.ids.items()}
        return [
            (
                value := values.get(number),
                number,
                self.counts[value] if value is not None else 0,
                self.since.get(value),
                self.last_days.get(value),
            )
            for number in range(self.first_id, self.first_id + self.num_ids)
        ]

    @property
    def rare(self) -> list[tuple]:
        """The rows of the file of rare values: value, frequency and last day."""
        return sorted(
            (value, count, self.last_days[value])
            for value, count in self.counts.items()
            if value not in self.ids
        )
