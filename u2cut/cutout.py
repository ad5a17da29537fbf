"""A photo with its subject found, and what is made of it on demand."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from u2cut import matting, render
from u2cut import saliency as maps
from u2cut.errors import UsageError
from u2cut.files.sink import Sink
from u2cut.imaging import composite
from u2cut.imaging.decode import Frame
from u2cut.imaging.encode import encode
from u2cut.imaging.formats import WRITTEN, Format, format_of, parse_format
from u2cut.notation import parse_color
from u2cut.options import OutputOptions, Product, RenderOptions
from u2cut.subject import Network, Subject, find

T = TypeVar("T", np.uint8, np.float32)


class Cutout:
    """A photo with its subject found; pictures are made of it on demand.

    Args:
        frame: The photo.
        fused: The network's fused map, (S, S) float32 probabilities.
        options: How the results look.
        network: Looks again where ``matting`` or ``zoom`` want it (`subject.find`).
        region: The part of the photo, rows and columns, that the network saw and that may hold
            the subject; by default all of it.
    """

    def __init__(
        self,
        frame: Frame,
        fused: NDArray[np.float32],
        options: RenderOptions,
        network: Network,
        region: tuple[slice, slice] | None = None,
    ) -> None:
        self.photo = frame.in_srgb() if options.cutout.srgb else frame
        self._region = region
        self._seen = self.photo if region is None else self.photo.part(region)
        self._fused = fused
        self._options = options
        self._network = network

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the photo, upright."""
        return self.photo.size

    @cached_property
    def _subject(self) -> Subject | None:
        if int(np.ptp(self._seen.image)) <= 2:
            return None  # an even picture has none, whatever the network answers
        method = self._options.edge.matting
        return find(self._seen.for_network, self._fused, self._network, method)

    @cached_property
    def _map(self) -> NDArray[np.float32] | None:
        """The saliency map at the network's resolution or finer; None without a subject."""
        if self._subject is None:
            return None
        chosen = self._subject.saliency
        if not self._options.edge.refines_by_zoom:
            return chosen
        return matting.refine_by_zoom(self._seen.image, chosen, self._network.fused_map)

    @property
    def confidence(self) -> float:
        """The expected IoU of the outline with the truth, in [0, 1].

        0 without a subject. ``matting="best"`` knows better, for it sees several views.
        """
        return self._subject.confidence if self._subject is not None else 0.0

    @property
    def has_subject(self) -> bool:
        """Return whether the network found a subject."""
        return self._map is not None

    @cached_property
    def saliency(self) -> NDArray[np.float32]:
        """The network's map as it is, (H, W) float32 in [0, 1], min-max normalised."""
        return self._placed(maps.upsample(maps.normalise(self._fused), self._seen.size))

    @cached_property
    def trimap(self) -> NDArray[np.uint8]:
        """(H, W) uint8: 0 background, 128 unknown, 255 subject."""
        if self._map is None:
            return np.zeros(self.shape, np.uint8)
        return self._placed(matting.trimap(self._map, self._seen.size))

    @cached_property
    def alpha(self) -> NDArray[np.float32]:
        """Straight alpha, (H, W) float32 in [0, 1], times the photo's own."""
        return self._placed(render.alpha(self._seen, self._map, self._options.edge))

    def _placed(self, values: NDArray[T]) -> NDArray[T]:
        """Return values of the part that was seen in their place in the photo, all else 0."""
        if self._region is None:
            return values
        whole = np.zeros(self.shape, values.dtype)
        whole[self._region] = values
        return whole

    @cached_property
    def coverage(self) -> float:
        """Share of the photo that the subject covers, in [0, 1].

        That of the matte; of the map's upper half where the product needs no matte.
        """
        if self._map is None:
            return 0.0
        if self._options.product in (Product.SALIENCY, Product.TRIMAP):
            return float(np.count_nonzero(self._map > 0.5) / self._map.size)
        return float(self.alpha.mean(dtype=np.float64))

    @cached_property
    def foreground(self) -> NDArray[np.uint8]:
        """The subject's own colours, RGB (H, W, 3) uint8."""
        if self.has_subject and self._options.cutout.decontaminate:
            return render.foreground(self.photo, self.alpha)
        return self.photo.image

    @property
    def rgba(self) -> NDArray[np.uint8]:
        """The cutout, straight alpha, (H, W, 4) uint8."""
        return composite.cutout(
            self.foreground,
            self.alpha,
            keep_hidden_colours=self._options.cutout.keep_hidden_colours,
        )

    def composite(
        self, background: "str | tuple[int, int, int] | NDArray[np.uint8]" = "white"
    ) -> NDArray[np.uint8]:
        """Put the subject on another background.

        Args:
            background: A colour ("white", "#fff", "r,g,b" or RGB), or a picture, RGB
                (h, w, 3) uint8, that is scaled to cover the photo.

        Returns:
            RGB, (H, W, 3) uint8.

        Raises:
            UsageError: It is neither.
        """
        if isinstance(background, str):
            background = parse_color(background)
        if isinstance(background, np.ndarray):
            if background.dtype != np.uint8 or background.ndim != 3 or background.shape[2] != 3:
                raise UsageError(
                    f"a background of shape {background.shape} and type {background.dtype}: give "
                    "RGB, (h, w, 3) uint8"
                )
            background = composite.cover(background, self.shape)
        elif isinstance(background, tuple | list):
            background = render.photo_colour(_colour(background), self.photo)
        else:
            raise UsageError(
                f"a {type(background).__name__} is no background: give a colour, or RGB as "
                "(h, w, 3) uint8"
            )
        return composite.over(self.foreground, self.alpha, background)

    def pixels(self, backdrop: Frame | None = None) -> NDArray[np.uint8]:
        """Make the product that the options name.

        Args:
            backdrop: The background picture, if the options name one.

        Returns:
            (H, W), (H, W, 3) or (H, W, 4) uint8; of another size when cropped or on a canvas.
        """
        options = self._options
        if options.product is Product.CUTOUT:
            return render.cutout(
                self.photo, self.alpha, self.foreground, options.cutout, options.canvas, backdrop
            )
        if options.product is Product.TRIMAP:
            values = self.trimap
        elif options.product is Product.SALIENCY:
            values = composite.eight_bits(self.saliency)
        else:
            alpha = self.alpha
            if options.canvas.canvas is not None:
                nothing = np.zeros((*alpha.shape, 3), np.uint8)
                alpha = render.on_canvas(nothing, alpha, options.canvas)[1]
            if options.product is Product.MASK:
                alpha = (alpha >= (options.edge.threshold or 0.5)).astype(np.float32)
            values = composite.eight_bits(alpha)
        return render.grey(values, options.product, invert=options.invert)

    def save(
        self,
        path: str | Path,
        *,
        format: str | None = None,
        quality: int | None = None,
        compression: int | None = None,
        strip: bool = False,
        keep_gps: bool = False,
    ) -> None:
        """Write the product, whole or not at all; a file that exists is replaced.

        Args:
            path: The file; its ending names the format.
            format: "png", "webp", "tiff", "avif" or "jpg", if the ending doesn't.
            quality: Of lossy formats, 1 to 100.
            compression: Effort of lossless formats, 0 to 9.
            strip: Write no author, copyright, date or description.
            keep_gps: Also write where the photo was taken.

        Raises:
            UsageError: The format isn't known, or a value is out of its limits.
            OutputError: The file can't be written.
        """
        kind = parse_format(format) if format else format_of(path)
        if kind is None:
            raise UsageError(
                "the ending names no format", path=path, remedy=f"use {' '.join(WRITTEN)}"
            )
        output = OutputOptions(
            format=kind, quality=quality, compression=compression, strip=strip, keep_gps=keep_gps
        )
        data = self.encoded(self.pixels(), kind, output)
        Sink(overwrite=True).write(str(path), data)

    def encoded(
        self,
        pixels: NDArray[np.uint8],
        format: Format,
        output: OutputOptions,
    ) -> bytes:
        """Encode pixels made of this photo, with its ICC profile, resolution and metadata.

        Args:
            pixels: What ``pixels`` returned.
            format: What is written.
            output: How.
        """
        icc = self.photo.icc if pixels.ndim == 3 else None  # a mask isn't a colour
        return encode(
            pixels,
            format,
            icc=icc,
            dpi=self.photo.dpi,
            metadata=None if output.strip else self.photo.metadata,
            gps=output.keep_gps,
            quality=output.quality,
            compression=output.compression,
        )

    def __getstate__(self) -> dict[str, object]:
        """Find the subject first, so that a copy in another process needs no network."""
        _ = self._map
        return {**self.__dict__, "_network": None}


def _colour(values: Sequence[int]) -> tuple[int, int, int]:
    """Check a colour that Python gave.

    Raises:
        UsageError: It isn't three numbers from 0 to 255.
    """
    if len(values) != 3 or not all(0 <= value <= 255 for value in values):
        raise UsageError(f"no colour: {tuple(values)} (give three numbers from 0 to 255)")
    red, green, blue = (int(value) for value in values)
    return red, green, blue
