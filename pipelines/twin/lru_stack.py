"""An LRU stack, and the distances at which a trace accesses it."""

import numpy as np

_PART = 512


class LRUStack:
    """Ids by their last access; the most recent has distance 1.

    Kept in parts, so that an access moves the ids of its part only.

    Example:

    >>> stack = LRUStack()
    >>> [stack.push(7), stack.push(8), stack.access(2), stack.access(2)]
    [7, 8, 7, 8]
    """

    def __init__(self) -> None:
        self._parts: list[list[int]] = [[]]  # the most recent id is the last
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, new_id: int) -> int:
        """Put an id that was never accessed on top, and return it."""
        self._put(new_id)
        self._size += 1
        return new_id

    def access(self, distance: int) -> int:
        """Move the id at `distance`, from 1 to the size, to the top, and return it."""
        index = len(self._parts) - 1
        while distance > len(self._parts[index]):
            distance -= len(self._parts[index])
            index -= 1
        part = self._parts[index]
        found = part.pop(len(part) - distance)
        if not part and len(self._parts) > 1:
            del self._parts[index]
        self._put(found)
        return found

    def _put(self, id_: int) -> None:
        if len(self._parts[-1]) >= 2 * _PART:
            top = self._parts[-1]
            self._parts[-1:] = [top[:_PART], top[_PART:]]
        self._parts[-1].append(id_)


def stack_distances(trace: np.ndarray) -> np.ndarray:
    """The stack distance of each access; 0 for the first to an id.

    Args:
        trace: The ids in the order of access.

    Example:

    >>> stack_distances(np.array([7, 8, 8, 7])).tolist()
    [0, 0, 1, 2]
    """
    previous = _previous_access(trace)
    # Of the accesses since the previous one to the same id, those to an id that came
    # since then already do not count: they are the ones whose own previous access is
    # later than this one's.
    here = np.arange(len(trace))
    distances = here - previous - _num_greater_before(previous)
    return np.where(previous < 0, 0, distances)


def _previous_access(trace: np.ndarray) -> np.ndarray:
    """Where each id was accessed before, or -1."""
    order = np.argsort(trace, kind="stable")
    is_same = trace[order[1:]] == trace[order[:-1]]
    previous = np.full(len(trace), -1, np.int64)
    previous[order[1:][is_same]] = order[:-1][is_same]
    return previous


def _num_greater_before(values: np.ndarray) -> np.ndarray:
    """For each value the number of greater ones before it, by merging from below."""
    greater = np.zeros(len(values), np.int64)
    here = np.arange(len(values))
    by_value = np.argsort(-values, kind="stable")
    width = 1
    while width < len(values):
        # Blocks of two halves, each sorted from the greatest value to the least.
        order = by_value[np.argsort(here[by_value] // (2 * width), kind="stable")]
        is_left = (order // width) % 2 == 0
        before = np.cumsum(is_left)
        starts = (order // (2 * width)) * width  # values of left halves before a block
        greater[order] += np.where(is_left, 0, before - starts)
        width *= 2
    return greater
