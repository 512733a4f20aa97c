"""Where the rows of embedding tables lie when one device is not to hold them all."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

SMALL = 50
"""A table of less than this part of a device's share is not worth splitting."""


@dataclass(frozen=True)
class TableSlice:
    """Rows of one table that lie on one device.

    Args:
        table: Which table.
        first_row: First of its rows.
        num_rows: How many.
        device: Number of the device.
    """

    table: int
    first_row: int
    num_rows: int
    device: int


def place_tables(
    num_rows: Sequence[int], row_bytes: int, loads: Sequence[int]
) -> list[TableSlice]:
    """Spread tables over devices, so that all hold about equally many bytes.

    Tables, largest first, each go to the device with the most room, up to a fair share
    of them all. The rows of a table that does not fit there are split over the devices,
    by the room that they have; but one of less than a fiftieth of a share stays whole.

    Args:
        num_rows: Rows of each table.
        row_bytes: Bytes of a row.
        loads: Bytes that each device holds already.

    Returns:
        The slices, in the order of tables and their rows.

    Example:

    >>> for each in place_tables([100, 20, 30, 10], row_bytes=4, loads=[0, 0]):
    ...     print(each)
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
    for table in sorted(range(len(num_rows)), key=lambda each: -num_rows[each]):
        rows = num_rows[table]
        room = [max(0, share - load) for load in loads]
        fits = rows * row_bytes <= max(*room, share // SMALL)
        if not fits and sum(room) > max(room):
            cuts = [0, *(rows * each // sum(room) for each in accumulate(room))]
            pieces = list(enumerate(pairwise(cuts)))
        else:
            pieces = [(min(range(len(loads)), key=loads.__getitem__), (0, rows))]
        for device, (start, end) in pieces:
            if end > start:
                slices.append(TableSlice(table, start, end - start, device))
                loads[device] += (end - start) * row_bytes
    return sorted(slices, key=lambda each: (each.table, each.first_row))


@dataclass
class Placement:
    """The devices that tables are spread over, and what they hold so far.

    Args:
        devices: Their names; a single one holds all tables.
        loads: Bytes of tables on each.
    """

    devices: tuple[str, ...]
    loads: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loads = self.loads or [0] * len(self.devices)

    def place(self, num_rows: Sequence[int], row_bytes: int) -> list[TableSlice]:
        """Place some tables beside those that were placed before."""
        slices = place_tables(num_rows, row_bytes, self.loads)
        for each in slices:
            self.loads[each.device] += each.num_rows * row_bytes
        return slices


_current: ContextVar[Placement | None] = ContextVar("placement", default=None)


@contextmanager
def tables_on(devices: Sequence[str]) -> Iterator[Placement]:
    """Spread the embedding tables that are made meanwhile over some devices.

    Under a `tf.distribute.MirroredStrategy` a table has one home then, instead of a
    copy on every device: ids go there, vectors come back, gradients go there. With a
    single device, such as the CPU beside GPUs, that one holds all tables.

    Args:
        devices: Names as TensorFlow has them.

    Yields:
        The placement, which says how much each device holds.
    """
    placement = Placement(tuple(devices))
    token = _current.set(placement)
    try:
        yield placement
    finally:
        _current.reset(token)


def current_placement() -> Placement | None:
    """Where tables that are made now are to lie; `None` for an ordinary variable."""
    return _current.get()
