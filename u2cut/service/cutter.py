"""From a request's bytes to a picture: one network, and threads before and after it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.batch.result import timed
from u2cut.cutout import Cutout
from u2cut.engines.predictor import Prediction, Predictor
from u2cut.imaging.decode import Frame, count_pixels, decode
from u2cut.imaging.formats import Format
from u2cut.options import OutputOptions, RenderOptions
from u2cut.service.metrics import Metrics
from u2cut.service.problems import Refused
from u2cut.service.region import Region, scaled
from u2cut.service.room import Room

R = TypeVar("R")
_GONE: Final = 499  # nginx' number for a client that has gone


@dataclass(frozen=True, slots=True)
class Order:
    """What a request asks for.

    Attributes:
        image: The photo's file.
        render: How its result looks.
        output: How it is written.
        background: The file of a background picture.
        most_pixels: Shrink the photo to at most so many first.
        region: The part that may hold the subject; None is all of it.
    """

    image: bytes
    render: RenderOptions
    output: OutputOptions
    background: bytes | None = None
    most_pixels: int | None = None
    region: Region | None = None


@dataclass(slots=True)
class Done:
    """A finished picture.

    Attributes:
        body: The file.
        format: Its format.
        width: In pixels.
        height: In pixels.
        cutout: What it was made of.
        stages: Seconds by stage.
    """

    body: bytes
    format: Format
    width: int
    height: int
    cutout: Cutout
    stages: dict[str, float] = field(default_factory=dict)


async def in_thread(function: Callable[[], R]) -> R:
    """Run a function in a thread of its own, which nobody waits for once the caller gave up."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()

    def settle(result: R | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        try:
            result, error = function(), None
        except Exception as e:
            result, error = None, e
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, daemon=True, name="u2cut request").start()
    return await future


class Cutter:
    """Cuts photos out for many clients at once.

    Args:
        predictor: The network.
        jobs: Photos that are decoded or finished at once.
        max_pixels: Larger photos are refused.
        most_held: Pixels of all photos that are decoded at once; more have to wait.
        metrics: Where time and pixels are counted.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        jobs: int,
        max_pixels: int,
        most_held: int,
        metrics: Metrics,
    ) -> None:
        self._predictor, self._max_pixels, self._metrics = predictor, max_pixels, metrics
        self._room = Room(jobs + 1, most_held, metrics)
        self._waiting: asyncio.Queue[tuple[NDArray[np.float32], asyncio.Future[Prediction]]] = (
            asyncio.Queue()
        )
        self._lanes: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Open the lanes to the network: as many as its calls may overlap."""
        for _ in range(self._predictor.at_once):
            self._lanes.append(asyncio.create_task(self._lane()))

    def stop(self) -> None:
        """Close them."""
        for lane in self._lanes:
            lane.cancel()

    async def cut(self, order: Order, is_gone: Callable[[], Awaitable[bool]]) -> Done:
        """Make what was ordered.

        Args:
            order: The photo and the options.
            is_gone: Tells whether the client has gone: then no network is run for it.

        Raises:
            U2cutError: The photo or the options won't do.
            Refused: The client has gone.
        """
        stages: dict[str, float] = {}
        async with self._room.hold(await in_thread(lambda: self._count(order))):
            await is_gone()  # lets the server listen for it while the photo is decoded
            with timed(stages, "decode"):
                photo = await in_thread(lambda: self._read(order))
            if await is_gone():
                raise Refused(_GONE, "gone", "the client has gone")
            with timed(stages, "network"):
                prediction = await self._predict(photo.network_input)
            with timed(stages, "finish"):
                done = await in_thread(lambda: self._finish(order, photo, prediction.fused))
        done.stages = stages
        for name, seconds in stages.items():
            self._metrics.seconds.labels(name).observe(seconds)
        self._metrics.pixels.inc(photo.frame.image.shape[0] * photo.frame.image.shape[1])
        return done

    def _count(self, order: Order) -> int:
        files = (order.image, order.background)
        return sum(count_pixels(f, max_pixels=self._max_pixels) for f in files if f is not None)

    def _read(self, order: Order) -> "_Photo":
        frame = decode(order.image, max_pixels=self._max_pixels)
        size, region = frame.size, None
        if order.region is not None:
            region = order.region.of(*size)
        if order.most_pixels is not None:
            frame = _shrunk(frame, order.most_pixels)
        if region is not None:
            region = scaled(region, size, frame.size)
        backdrop = None
        if order.background is not None:
            backdrop = decode(order.background, max_pixels=self._max_pixels)
        seen = frame if region is None else frame.part(region)
        return _Photo(frame, region, backdrop, self._predictor.preprocess(seen.for_network))

    async def _predict(self, network_input: NDArray[np.float32]) -> Prediction:
        answer: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        await self._waiting.put((network_input, answer))
        self._metrics.waiting.set(self._waiting.qsize())
        return await answer

    async def _lane(self) -> None:
        """Run the network on what waits, up to a batch; nothing waits for a batch to fill."""
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < self._predictor.batch_size and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            self._metrics.waiting.set(self._waiting.qsize())
            wanted = [(i, a) for i, a in batch if not a.done()]  # the others gave up
            inputs = [network_input for network_input, _ in wanted]
            try:
                predictions = await in_thread(partial(self._predictor.predict, inputs))
            except Exception as e:
                for _, answer in wanted:
                    if not answer.done():
                        answer.set_exception(e)
                continue
            for (_, answer), prediction in zip(wanted, predictions, strict=True):
                if not answer.done():
                    answer.set_result(prediction)

    def _finish(self, order: Order, photo: "_Photo", fused: NDArray[np.float32]) -> Done:
        cutout = Cutout(photo.frame, fused, order.render, self._predictor, photo.region)
        pixels = cutout.pixels(photo.backdrop)
        format = order.output.format or Format.PNG
        body = cutout.encoded(pixels, format, order.output)
        return Done(body, format, pixels.shape[1], pixels.shape[0], cutout)


@dataclass(frozen=True, slots=True)
class _Photo:
    """A request's photo, decoded: the part that may hold its subject, and the background."""

    frame: Frame
    region: tuple[slice, slice] | None
    backdrop: Frame | None
    network_input: NDArray[np.float32]


def _shrunk(frame: Frame, most: int) -> Frame:
    """Return a photo of at most so many pixels."""
    height, width = frame.image.shape[:2]
    if height * width <= most:
        return frame
    scale = (most / (height * width)) ** 0.5
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    image = np.asarray(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA), np.uint8)
    alpha = frame.alpha
    if alpha is not None:
        alpha = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.float32)
    return Frame(image, alpha, frame.icc, frame.dpi, metadata=frame.metadata)
