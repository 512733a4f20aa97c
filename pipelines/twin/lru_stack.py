"""An LRU stack, and the distances at which a trace accesses it."""

import numpy as np

_PART = 512


class LRUStack:
    """Ids in the order of their last access; the most recent one has distance 1.

    The ids are kept in parts, so that an access moves only the ids of its part.

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
        """Put an id that was never accessed on top of the stack, and return it."""
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
        id_ = part.pop(len(part) - distance)
        if not part and len(self._parts) > 1:
            del self._parts[index]
        self._put(id_)
        return id_

    def _put(self, id_: int) -> None:
        if len(self._parts[-1]) >= 2 * _PART:
            top = self._parts[-1]
            self._parts[-1:] = [top[:_PART], top[_PART:]]
        self._parts[-1].append(id_)


def stack_distances(trace: np.ndarray) -> np.ndarray:
    """Return the stack distance of each access; 0 for the first access to an id.

    Args:
        trace: The ids in the order of access.

    Example:

    >>> stack_distances(np.array([7, 8, 8, 7])).tolist()
    [0, 0, 1, 2]
    """
    previous = _previous_access(trace)
    # The distance counts the different ids since the previous access to the same id.
    # A repeated id counts once: its later accesses are those whose own previous access
    # is after that of this one, and they are subtracted.
    accesses = np.arange(len(trace))
    distances = accesses - previous - _num_greater_before(previous)
    return np.where(previous < 0, 0, distances)


def _previous_access(trace: np.ndarray) -> np.ndarray:
    """Return the position of the previous access to each id, or -1."""
    order = np.argsort(trace, kind="stable")
    is_same = trace[order[1:]] == trace[order[:-1]]
    previous = np.full(len(trace), -1, np.int64)
    previous[order[1:][is_same]] = order[:-1][is_same]
    return previous


def _num_greater_before(values: np.ndarray) -> np.ndarray:
    """Return for each value the number of greater ones before it, by merge sort."""
    greater = np.zeros(len(values), np.int64)
    positions = np.arange(len(values))
    by_value = np.argsort(-values, kind="stable")
    width = 1
    while width < len(values):
        # Runs of two halves, each run sorted from the greatest value to the least.
        order = by_value[np.argsort(positions[by_value] // (2 * width), kind="stable")]
        is_left = (order // width) % 2 == 0
        num_left_before = np.cumsum(is_left)
        starts = (order // (2 * width)) * width  # values of left halves in earlier runs
        greater[order] += np.where(is_left, 0, num_left_before - starts)
        width *= 2
    return greater
