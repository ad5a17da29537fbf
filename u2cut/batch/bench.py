"""Timings of a photo's stages on this machine, and the settings that would change them."""

import importlib.util
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median

import numpy as np
from PIL import Image

from u2cut.console import Progress, logger
from u2cut.cutout import Cutout
from u2cut.engines.predictor import Predictor
from u2cut.errors import DeviceError, InputError
from u2cut.imaging.decode import Frame, decode
from u2cut.imaging.formats import Format
from u2cut.options import (
    EdgeOptions,
    EngineName,
    InputOptions,
    Matting,
    NetworkOptions,
    OutputOptions,
    Precision,
    RenderOptions,
)

# Encoders worth a try: format, compression.
_ENCODERS = ((Format.PNG, None), (Format.PNG, 1), (Format.PNG, 9), (Format.WEBP, None))
_WORTH_SAYING = 1.15


@dataclass(frozen=True, slots=True)
class Alternative:
    """A setting, what it costs, and what comes out.

    Attributes:
        stage: The stage that it changes.
        setting: The command line's words for it.
        seconds: The stage's median time with it.
        size: Bytes that an encoder makes, or None.
    """

    stage: str
    setting: str
    seconds: float
    size: int | None = None


@dataclass(slots=True)
class Benchmark:
    """Measured medians, one thread after the other, in seconds a photo."""

    photos: int
    megapixels: float
    engine: str
    stages: dict[str, float] = field(default_factory=dict)
    alternatives: list[Alternative] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """One photo, start to end."""
        return sum(self.stages.values())

    def advice(self) -> list[str]:
        """Name the settings that would make a photo faster, the best first, with their factor."""
        gains = []
        for a in self.alternatives:
            factor = self.seconds / (self.seconds - self.stages[a.stage] + a.seconds)
            if factor >= _WORTH_SAYING:
                gains.append((factor, a.setting))
        said = [f"{setting}: {factor:.1f} × faster" for factor, setting in sorted(gains)[::-1]]
        if importlib.util.find_spec("openvino") is None and self.engine.startswith("torch, cpu"):
            said.append("pip install 'u2cut[openvino]': a faster engine for this processor")
        return said


def example_photo(megapixels: float = 12.0) -> bytes:
    """Make a JPEG with a subject, and with noise like a camera's, for lack of a real photo."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(height * 4 / 3)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    distance = np.hypot(rows - height / 2, columns - width / 2) / height
    inside = (distance < 0.3 + 0.02 * np.sin(columns / 40))[..., None]
    picture = np.where(inside, (200, 70, 40), (110, 140, 160)).astype(np.float32)
    picture *= (1.2 - distance)[..., None]
    picture += np.random.default_rng(0).normal(0, 4, picture.shape).astype(np.float32)
    data = io.BytesIO()
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(data, "JPEG", quality=92)
    return data.getvalue()


def measure(
    photos: Sequence[tuple[str, bytes]], network: NetworkOptions, bar: Progress, rounds: int = 3
) -> Benchmark:
    """Time the stages of ``u2cut remove``, and the settings that could be chosen instead.

    Args:
        photos: Names and encoded photos.
        network: Which network runs, and on what.
        bar: Moved on once for each thing that is timed (see ``steps``).
        rounds: Times that each thing is timed; the median counts.

    Raises:
        U2cutError: A photo can't be decoded, or the network is not available.
    """
    bench = _Bench(photos, network, bar, rounds)
    bench.time_decoding()
    bench.time_network()
    bench.time_matting()
    bench.time_encoding()
    bench.time_engines()
    return bench.result


class _Bench:
    def __init__(
        self,
        photos: Sequence[tuple[str, bytes]],
        network: NetworkOptions,
        bar: Progress,
        rounds: int,
    ) -> None:
        self.photos = [data for _, data in photos]
        self.frames = [self._named(name, data) for name, data in photos]
        self.network = network
        self.bar = bar
        self.rounds = rounds
        self.predictor = Predictor(network)
        self.fused = [self.predictor.fused_map(frame.for_network) for frame in self.frames]
        engine = self.predictor.engine
        self.result = Benchmark(
            len(photos),
            median(frame.size[0] * frame.size[1] / 1e6 for frame in self.frames),
            f"{engine.name}, {engine.device}, {engine.precision}",
        )

    def _named(self, name: str, photo: bytes) -> Frame:
        try:
            return self._decoded(photo)
        except InputError as e:
            raise InputError(str(e), path=name) from e

    def _decoded(self, photo: bytes) -> Frame:
        return decode(photo, max_pixels=InputOptions().max_pixels)

    def _timed(self, work: Callable[[int], object]) -> float:
        """Return the median time of ``work``, called with each photo's number in turn."""
        self.bar.update()
        times = []
        for _ in range(self.rounds):
            for i in range(len(self.photos)):
                start = time.perf_counter()
                work(i)
                times.append(time.perf_counter() - start)
        return median(times)

    def time_decoding(self) -> None:
        self.result.stages["decode"] = self._timed(lambda i: self._decoded(self.photos[i]))

    def time_network(self) -> None:
        self.result.stages["network"] = self._timed(
            lambda i: self.predictor.fused_map(self.frames[i].image)
        )

    def _cutout(self, i: int, matting: Matting = Matting.FAST) -> Cutout:
        options = RenderOptions(edge=EdgeOptions(matting=matting))
        return Cutout(self.frames[i], self.fused[i], options, self.predictor)

    def time_matting(self) -> None:
        for matting in (Matting.FAST, Matting.NONE, Matting.BEST):
            seconds = self._timed(partial(self._render, matting))
            self.result.stages.setdefault("matting", seconds)
            self.result.alternatives.append(Alternative("matting", f"--matting {matting}", seconds))

    def _render(self, matting: Matting, i: int) -> None:
        self._cutout(i, matting).pixels()

    def time_encoding(self) -> None:
        cutouts = [self._cutout(i) for i in range(len(self.photos))]
        pictures = [cutout.pixels() for cutout in cutouts]
        for kind, compression in _ENCODERS:

            def encode(i: int, kind: Format = kind, effort: int | None = compression) -> bytes:
                return cutouts[i].encoded(pictures[i], kind, OutputOptions(compression=effort))

            seconds = self._timed(encode)
            size = round(median(len(encode(i)) for i in range(len(self.photos))))
            self.result.stages.setdefault("encode", seconds)
            words = f"--format {kind}" + (f" --compression {compression}" if compression else "")
            self.result.alternatives.append(Alternative("encode", words, seconds, size))

    def time_engines(self) -> None:
        for engine, precision in _engines(self.network):
            try:
                other = Predictor(replace(self.network, engine=engine, precision=precision))
                other.fused_map(self.frames[0].image)  # the first call prepares
            except DeviceError as e:
                self.bar.update()
                logger.info("%s %s: %s", engine, precision, e)
                continue
            seconds = self._timed(lambda i, o=other: o.fused_map(self.frames[i].image))  # type: ignore[misc]
            words = f"--engine {engine} --precision {precision}"
            self.result.alternatives.append(Alternative("network", words, seconds))


def _engines(network: NetworkOptions) -> list[tuple[EngineName, Precision]]:
    found = [(EngineName.TORCH, Precision.FP32), (EngineName.TORCH, Precision.BF16)]
    if network.device in ("auto", "cpu") and importlib.util.find_spec("openvino"):
        kinds = (Precision.FP32, Precision.BF16, Precision.INT8)
        found += [(EngineName.OPENVINO, kind) for kind in kinds]
    return found


def steps(network: NetworkOptions) -> int:
    """Number of times that ``measure`` moves its bar."""
    return 2 + len(Matting) + len(_ENCODERS) + len(_engines(network))
