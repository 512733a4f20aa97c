"""Amounts of memory as people write them."""

import re

from tfdlrm.base.errors import InputError

_UNITS = {
    f"{prefix}{suffix}": base**power
    for power, prefix in enumerate("KMGT", start=1)
    for suffix, base in (("B", 1000), ("iB", 1024))
}


def format_byte_size(num_bytes: int) -> str:
    """Format a number of bytes with three digits and a unit, in powers of 1,000.

    Example:

    >>> [format_byte_size(size) for size in (640, 959_488, 2_162_804_928)]
    ['640 B', '959 kB', '2.16 GB']
    """
    number, units = float(num_bytes), iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while number >= 999.5 and unit != "TB":
        number, unit = number / 1000, next(units)
    digits = 0 if unit == "B" or number >= 100 else 1 if number >= 10 else 2
    return f"{number:.{digits}f} {unit}"


def parse_byte_size(text: str, name: str) -> int:
    """Return the number of bytes that `text` stands for.

    Args:
        text: A number and a unit: KB, MB, GB and TB are powers of 1,000; KiB, MiB, GiB
            and TiB of 1,024.
        name: Name of the setting, for the message.

    Raises:
        InputError: If `text` is anything else.

    Example:

    >>> parse_byte_size("1.5GB", "memory_budget")
    1500000000
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]i?B)", text)
    if not match:
        raise InputError(
            f"{name} is {text!r}, expected a number and one of {', '.join(_UNITS)}, "
            "such as 8GB"
        )
    return int(float(match[1]) * _UNITS[match[2]])
