"""Let a number of requests be answered at a time; others wait for their turns."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """Turns of requests, in the order of their arrival.

    Args:
        most: Most requests that are answered at a time.
        seconds: Longest time to wait for a turn.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._free = asyncio.Semaphore(most)
        self._seconds = seconds

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a turn, and keep it until the context is left.

        Raises:
            TimeoutError: If none is free in time.
        """
        async with asyncio.timeout(self._seconds):
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()
