"""Spread the rows of embedding tables over devices."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

SMALL = 50
"""A table is not split if it is smaller than a share of a device divided by this."""


@dataclass(frozen=True)
class TableSlice:
    """Rows of one table that lie on one device.

    Args:
        table: Position of the table.
        first_row: First row of the table in the slice.
        num_rows: Number of rows.
        device: Number of the device.
    """

    table: int
    first_row: int
    num_rows: int
    device: int


def place_tables(
    num_rows: Sequence[int], row_bytes: int, loads: Sequence[int]
) -> list[TableSlice]:
    """Spread tables over devices so that each device holds about as many bytes.

    Tables, largest first, go to the device with the most room; a device has room up to
    its fair share of all bytes. A table that does not fit is split over the devices in
    proportion to their room, unless it is smaller than a fiftieth of a share.

    Args:
        num_rows: Rows of each table.
        row_bytes: Bytes of a row.
        loads: Bytes that each device holds already.

    Returns:
        The slices, in the order of the tables and their rows.

    Example:

    >>> for part in place_tables([100, 20, 30, 10], row_bytes=4, loads=[0, 0]):
    ...     print(part)
    TableSlice(table=0, first_row=0, num_rows=50, device=0)
    TableSlice(table=0, first_row=50, num_rows=50, device=1)
    TableSlice(table=1, first_row=0, num_rows=20, device=1)
    TableSlice(table=2, first_row=0, num_rows=30, device=0)
    TableSlice(table=3, first_row=0, num_rows=10, device=1)

    Reference:
        Greedy by size: [Graham, 1969](https://doi.org/10.1137/0117039), section 4.
    """
    loads = list(loads)
    share = -(-(sum(num_rows) * row_bytes + sum(loads)) // len(loads))
    slices = []
    for table in sorted(range(len(num_rows)), key=lambda index: -num_rows[index]):
        rows = num_rows[table]
        room = [max(0, share - load) for load in loads]
        fits = rows * row_bytes <= max(*room, share // SMALL)
        if not fits and sum(room) > max(room):
            cuts = [0, *(rows * end // sum(room) for end in accumulate(room))]
            pieces = list(enumerate(pairwise(cuts)))
        else:
            pieces = [(min(range(len(loads)), key=loads.__getitem__), (0, rows))]
        for device, (start, end) in pieces:
            if end > start:
                slices.append(TableSlice(table, start, end - start, device))
                loads[device] += (end - start) * row_bytes
    return sorted(slices, key=lambda part: (part.table, part.first_row))


@dataclass
class Placement:
    """The devices that tables are spread over, and what they hold so far.

    Args:
        devices: Names of the devices; a single one holds all tables.
        loads: Bytes of tables on each device.
    """

    devices: tuple[str, ...]
    loads: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loads = self.loads or [0] * len(self.devices)

    def place(self, num_rows: Sequence[int], row_bytes: int) -> list[TableSlice]:
        """Place more tables, next to those that are placed already."""
        slices = place_tables(num_rows, row_bytes, self.loads)
        for part in slices:
            self.loads[part.device] += part.num_rows * row_bytes
        return slices


_current: ContextVar[Placement | None] = ContextVar("placement", default=None)


@contextmanager
def tables_on(devices: Sequence[str]) -> Iterator[Placement]:
    """Spread the embedding tables that are made in this context over some devices.

    Under a `tf.distribute.MirroredStrategy` a table then has one home instead of a copy
    on every device: ids go there, vectors come back, gradients go there. A single
    device, such as the CPU next to GPUs, holds all tables.

    Args:
        devices: Names of devices, such as `GPU:0`.

    Yields:
        The placement, with the bytes that each device holds.
    """
    placement = Placement(tuple(devices))
    token = _current.set(placement)
    try:
        yield placement
    finally:
        _current.reset(token)


def current_placement() -> Placement | None:
    """Return where new tables are to lie; `None` means in an ordinary variable."""
    return _current.get()
