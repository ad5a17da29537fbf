"""How many decoded photos are held at once, for they are what takes memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from u2cut.service.metrics import Metrics


class Room:
    """Room for decoded photos; whoever comes first goes first.

    A photo that is larger than all of it has it alone.

    Args:
        photos: So many at once.
        pixels: Of so many pixels together.
        metrics: Where the pixels are shown.
    """

    def __init__(self, photos: int, pixels: int, metrics: Metrics) -> None:
        self._photos, self._pixels = asyncio.Semaphore(photos), pixels
        self._gauge = metrics.held
        self._turn, self._freed = asyncio.Lock(), asyncio.Event()
        self._held = 0

    @asynccontextmanager
    async def hold(self, pixels: int) -> AsyncIterator[None]:
        """Wait until there is room for a photo, and take it."""
        async with self._photos:
            async with self._turn:
                while self._held and self._held + pixels > self._pixels:
                    self._freed.clear()
                    await self._freed.wait()
                self._take(pixels)
            try:
                yield
            finally:
                self._take(-pixels)
                self._freed.set()

    def _take(self, pixels: int) -> None:
        self._held += pixels
        self._gauge.set(self._held)
