"""Amounts of memory as people write them."""

import re

from tfdlrm.errors import InputError

_UNITS = {
    f"{prefix}{kind}": base**power
    for power, prefix in enumerate("KMGT", start=1)
    for kind, base in (("B", 1000), ("iB", 1024))
}


def parse_byte_size(text: str, name: str) -> int:
    """The number of bytes that `text` stands for.

    Args:
        text: A number and a unit: KB, MB, GB and TB are powers of 1,000; KiB, MiB, GiB
            and TiB of 1,024.
        name: Name of the setting, for the message.

    Raises:
        InputError: If it is anything else.

    Example:

    >>> parse_byte_size("1.5GB", "memory_budget")
    1500000000
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]i?B)", text)
    if not found:
        raise InputError(
            f"{name} is {text!r}, expected a number and one of {', '.join(_UNITS)}, "
            "such as 8GB"
        )
    return int(float(found[1]) * _UNITS[found[2]])
