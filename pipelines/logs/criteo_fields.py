"""Read the fields of clean raw text as whole columns of numbers.

Criteo's fields are short: a sign and up to 16 decimal digits, or 8 hexadecimal ones. So
the last eight bytes of a field are one 64-bit word, and its digits are checked and
summed all at once ("SIMD within a register", Lamport 1975, "Multiple byte processing
with full-word instructions"). Slower readers take text with anything unusual in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_SLICE_BYTES = 2**19
"""About the size that fits a core's cache, along with the arrays computed from it."""

_PADDING = 24  # words before the first field are read, and one after the last field
_TAB, _NEWLINE, _MINUS, _ZERO, _ONE = b"\t\n-01"
_BYTES = np.uint64(0x0101010101010101)
_ZEROS = np.uint64(_ZERO) * _BYTES


class UnusualTextError(Exception):
    """The text is malformed, or written in a way that only slower readers take."""


@dataclass(frozen=True)
class Fields:
    """The fields of some rows, a column in each row of these arrays.

    Args:
        labels: uint8 `(rows,)`, or `None` where the rows have no label.
        dense: int64 `(dense, rows)`, 0 where empty.
        categories: uint32 `(categorical, rows)`, 0 where empty.
        is_empty: Which fields are empty, bool `(dense + categorical, rows)`.
    """

    labels: np.ndarray | None
    dense: np.ndarray
    categories: np.ndarray
    is_empty: np.ndarray


def read_fields(
    text: bytes, labelled: bool, num_dense: int, num_categorical: int
) -> Fields:
    """Read tab-separated rows that are written the usual way.

    Args:
        text: Whole lines, each with its newline.
        labelled: Whether rows begin with a label.
        num_dense: Number of columns of decimal integers.
        num_categorical: Number of columns of hexadecimal numbers after these.

    Raises:
        UnusualTextError: If a row is malformed or written unusually: with capital
            digits, or with more than 16 decimal or 8 hexadecimal ones.
    """
    num_rows, num_columns = text.count(b"\n"), num_dense + num_categorical
    fields = Fields(
        labels=np.empty(num_rows, np.uint8) if labelled else None,
        dense=np.empty((num_dense, num_rows), np.int64),
        categories=np.empty((num_categorical, num_rows), np.uint32),
        is_empty=np.empty((num_columns, num_rows), bool),
    )
    start = 0
    for text_slice in _slices(text):
        starts, ends = _bounds(text_slice, labelled + num_columns)
        rows = slice(start, start + len(ends))
        if fields.labels is not None:
            fields.labels[rows] = _labels(text_slice, starts[:, 0], ends[:, 0])
            starts, ends = starts[:, 1:], ends[:, 1:]
        words = text_slice.view(np.uint64)
        counts = _integers(
            text_slice, words, starts[:, :num_dense], ends[:, :num_dense]
        )
        fields.dense[:, rows] = counts.T
        hashes = _hexadecimal(words, starts[:, num_dense:], ends[:, num_dense:])
        fields.categories[:, rows] = hashes.T
        fields.is_empty[:, rows] = (starts == ends).T
        start = rows.stop
    return fields


def _slices(text: bytes) -> Iterator[np.ndarray]:
    """Yield whole lines of the text, padded to whole words."""
    start = 0
    while start < len(text):
        end = text.rfind(b"\n", start, start + _SLICE_BYTES) + 1
        end = end or text.index(b"\n", start) + 1
        size = -(-(end - start + 2 * _PADDING) // 8) * 8
        part = np.zeros(size, np.uint8)
        part[_PADDING : _PADDING + end - start] = np.frombuffer(
            text, np.uint8, end - start, start
        )
        yield part
        start = end


def _bounds(part: np.ndarray, num_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where each field starts and ends, as `(rows, columns)`."""
    ends = np.flatnonzero(part - np.uint8(_TAB) <= _NEWLINE - _TAB)
    num_rows, num_left = divmod(len(ends), num_columns)
    if num_left or np.count_nonzero(part == _NEWLINE) != num_rows:
        raise UnusualTextError
    starts = np.empty_like(ends)
    starts[0] = _PADDING
    np.add(ends[:-1], 1, out=starts[1:])
    ends = ends.reshape(num_rows, num_columns)
    if not (part[ends[:, -1]] == _NEWLINE).all():
        raise UnusualTextError
    return starts.reshape(num_rows, num_columns), ends


def _labels(part: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    labels = part[starts] - np.uint8(_ZERO)
    if (ends - starts != 1).any() or (labels > 1).any():
        raise UnusualTextError
    return labels


def _integers(
    part: np.ndarray, words: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    is_negative = part[starts] == _MINUS
    num_digits = ends - starts - is_negative
    if (is_negative & (num_digits == 0)).any():
        raise UnusualTextError
    longest = num_digits.max(initial=0)
    if longest > 16:
        raise UnusualTextError
    values = _decimal(_last_bytes(words, ends, np.minimum(num_digits, 8)))
    if longest > 8:
        high = _last_bytes(words, ends - 8, np.maximum(num_digits - 8, 0))
        values += _decimal(high) * 10**8
    return np.negative(values, out=values, where=is_negative)


def _last_bytes(
    words: np.ndarray, ends: np.ndarray, num_bytes: np.ndarray
) -> np.ndarray:
    """Return `num_bytes` bytes before each end, after zero digits, as words."""
    starts = ends - 8
    shift = ((starts & 7) << 3).astype(np.uint64)
    word = starts >> 3
    # Shifts by 64 and more give 0 in NumPy, whatever the processor does.
    text = words.take(word) >> shift
    text |= words.take(word + 1) << (np.uint64(64) - shift)
    num_bits = (num_bytes << 3).astype(np.uint64)
    num_other_bits = np.uint64(64) - num_bits
    text >>= num_other_bits
    text <<= num_other_bits
    text |= _ZEROS >> num_bits
    return text


def _decimal(text: np.ndarray) -> np.ndarray:
    """Return the value of the eight decimal digits of each word, lowest byte first."""
    high_bits = np.uint64(0xF0) * _BYTES
    bad_bits = (text & high_bits) ^ _ZEROS
    bad_bits |= ((text + np.uint64(6) * _BYTES) & high_bits) ^ _ZEROS
    if bad_bits.any():
        raise UnusualTextError
    digits = text - _ZEROS
    pairs = digits * np.uint64(10) + (digits >> np.uint64(8))
    mask = np.uint64(0x000000FF000000FF)
    values = (pairs & mask) * np.uint64(100 + (10**6 << 32))
    values += ((pairs >> np.uint64(16)) & mask) * np.uint64(1 + (10**4 << 32))
    return (values >> np.uint64(32)).astype(np.int64)


def _hexadecimal(words: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    num_digits = ends - starts
    if num_digits.max(initial=0) > 8:
        raise UnusualTextError
    text = _last_bytes(words, ends, num_digits)
    is_letter = (text >> np.uint64(6)) & _BYTES
    digits = text & (np.uint64(15) * _BYTES)
    digits += is_letter * np.uint64(9)
    # Written as text again, the digits must be the same text: else one was no digit.
    above_9 = ((digits + np.uint64(6) * _BYTES) >> np.uint64(4)) & _BYTES
    bad_bits = (digits + _ZEROS + above_9 * np.uint64(ord("a") - 10 - _ZERO)) ^ text
    bad_bits |= digits & (np.uint64(16) * _BYTES)
    if bad_bits.any():
        raise UnusualTextError
    digits.byteswap(inplace=True)
    for distance, mask in (
        (4, 0x00FF00FF00FF00FF),
        (8, 0x0000FFFF0000FFFF),
        (16, 0x00000000FFFFFFFF),
    ):
        digits |= digits >> np.uint64(distance)
        digits &= np.uint64(mask)
    return digits.astype(np.uint32)
