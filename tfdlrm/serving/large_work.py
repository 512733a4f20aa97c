"""Work of the event loop that may take long."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

INLINE_VALUES = 4096
"""Work on more values is done in a thread."""


async def in_thread_if_large(
    size: int, function: Callable[..., T], *arguments: Any
) -> T:
    """Call a function, in a thread where it goes through many values.

    Args:
        size: Number of values.
        function: Function to call.
        *arguments: Arguments of the function.
    """
    if size <= INLINE_VALUES:
        return function(*arguments)
    return await asyncio.to_thread(function, *arguments)
