"""From a photo and its fused map to what the user asked for."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut import matting
from u2cut import saliency as maps
from u2cut.errors import InputError, UsageError, printable
from u2cut.files.read import read
from u2cut.files.sink import Sink
from u2cut.imaging import composite
from u2cut.imaging.canvas import lay_out, place
from u2cut.imaging.colour import convert
from u2cut.imaging.crop import subject_box
from u2cut.imaging.decode import Frame, decode
from u2cut.imaging.encode import encode
from u2cut.imaging.formats import WRITTEN, format_of, parse_format
from u2cut.imaging.hidden import fill_hidden
from u2cut.notation import Margin, Position, parse_color
from u2cut.options import InputOptions, Matting, Product, RenderOptions

# A file whose own alpha cuts away at least this share, and agrees this well (IoU) with the map,
# is a cutout already.
_CUT_AWAY: Final = 0.05
_SAME: Final = 0.8
_BEHIND: Final = 0.02  # alpha up to which a pixel shows the background alone
_UNKNOWN: Final = 128  # in a trimap
_FILL: Final = 0.85  # what shops and marketplaces ask for


class Network(Protocol):
    """What predicts fused maps of photos, RGB (H, W, 3) uint8: a ``Predictor``."""

    def fused_map(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the fused map, (S, S) float32."""
        ...

    def views(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Return the fused maps of other views of the photo, (S, S) float32 each."""
        ...


class Cutout:
    """A photo with its subject found; pictures are made of it on demand.

    Args:
        frame: The photo.
        fused: The network's fused map, (S, S) float32 probabilities.
        options: How the results look.
        network: Predicts again: parts with small subjects, and other views for
            ``matting="best"``.
    """

    def __init__(
        self,
        frame: Frame,
        fused: NDArray[np.float32],
        options: RenderOptions,
        network: Network,
    ) -> None:
        self.photo = frame
        self._fused = fused
        self._options = options
        self._network = network

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the photo, upright."""
        return self.photo.size

    @cached_property
    def _map(self) -> NDArray[np.float32] | None:
        """The saliency map at the network's resolution or finer; None without a subject."""
        first = maps.to_saliency(self._fused)
        if first is None or int(np.ptp(self.photo.image)) <= 2:
            return None  # an even picture has no subject, whatever the network dreams up
        if self._options.edge.matting is Matting.BEST:
            others = (
                maps.to_saliency(fused) for fused in self._network.views(self.photo.for_network)
            )
            seen = [first, *(other for other in others if other is not None)]
            first = min(seen, key=maps.uncertainty)
        if not self._options.edge.refines_by_zoom:
            return first
        return matting.refine_by_zoom(self.photo.image, first, self._network.fused_map)

    @property
    def has_subject(self) -> bool:
        """Whether the network found a subject."""
        return self._map is not None

    @cached_property
    def saliency(self) -> NDArray[np.float32]:
        """The network's map as it is, (H, W) float32 in [0, 1], min-max normalised."""
        return maps.upsample(maps.normalise(self._fused), self.shape)

    @cached_property
    def trimap(self) -> NDArray[np.uint8]:
        """(H, W) uint8: 0 background, 128 unknown, 255 subject."""
        if self._map is None:
            return np.zeros(self.shape, np.uint8)
        return matting.trimap(self._map, self.shape)

    @cached_property
    def alpha(self) -> NDArray[np.float32]:
        """Straight alpha, (H, W) float32 in [0, 1], times the photo's own."""
        edge = self._options.edge
        if self._map is None:
            return np.zeros(self.shape, np.float32)
        own = self.photo.alpha
        if own is not None and _is_cut_out(own, self._map):
            alpha, own = own.copy(), None  # nothing can be known better than the file says
        else:
            alpha = matting.alpha_matte(self.photo.image, self._map, edge.matting.value)
        if edge.clean:
            alpha = matting.clean(alpha)
        if edge.largest:
            alpha = matting.largest(alpha)
        if edge.erode:
            alpha = matting.erode(alpha, edge.erode)
        if edge.feather:
            alpha = matting.feather(alpha, edge.feather)
        if own is not None:
            alpha = alpha * own
        if edge.threshold is not None:
            alpha = (alpha >= edge.threshold).astype(np.float32)
        return alpha

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
            colours = matting.foreground(self.photo.image, self.alpha)
            if self.photo.alpha is None:
                return colours
            # Where the file has an alpha of its own, its colours are the subject's already.
            own = (self.photo.alpha < 1)[..., None]
            return np.where(own, self.photo.image, colours)
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
            background = self._own_colour(_colour(background))
        else:
            raise UsageError(
                f"a {type(background).__name__} is no background: give a colour, or RGB as "
                "(h, w, 3) uint8"
            )
        return composite.over(self.foreground, self.alpha, background)

    def _own_colour(self, colour: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return an sRGB colour in the photo's own space."""
        pixel = np.array([[colour]], np.uint8)
        red, green, blue = convert(pixel, None, self.photo.icc)[0, 0].tolist()
        return red, green, blue

    def pixels(self, backdrop: Frame | None = None) -> NDArray[np.uint8]:
        """Make the product that the options name.

        Args:
            backdrop: The background picture, if the options name one.

        Returns:
            (H, W), (H, W, 3) or (H, W, 4) uint8; of another size when cropped or on a canvas.
        """
        options = self._options
        if options.product is Product.CUTOUT:
            return self._cutout_pixels(backdrop)
        if options.product is Product.TRIMAP:
            grey = self.trimap
        elif options.product is Product.SALIENCY:
            grey = composite.eight_bits(self.saliency)
        else:
            alpha = self._laid_out(None)[1]
            if options.product is Product.MASK:
                alpha = (alpha >= (options.edge.threshold or 0.5)).astype(np.float32)
            grey = composite.eight_bits(alpha)
        if not options.invert:
            return grey
        # What is unknown stays so.
        inverted: NDArray[np.uint8] = 255 - grey
        if options.product is Product.TRIMAP:
            inverted[grey == _UNKNOWN] = _UNKNOWN
        return inverted

    def _cutout_pixels(self, backdrop: Frame | None) -> NDArray[np.uint8]:
        options = self._options.cutout
        window = np.s_[:, :]
        if options.crop:
            margin = options.crop_margin or Margin(0, percent=False)
            window = subject_box(self.alpha, margin) or window
        placed, opacity = self._laid_out(self.foreground)
        assert placed is not None
        colours, alpha = placed[window], opacity[window]
        size = (alpha.shape[0], alpha.shape[1])
        if options.background is not None:
            return composite.over(colours, alpha, self._own_colour(options.background))
        if options.background_blur is not None:
            blurred = self._blurred(options.background_blur)[window]
            return composite.over(colours, alpha, composite.cover(blurred, size))
        if backdrop is not None:
            behind = composite.cover(backdrop.image, size)
            behind = convert(behind, backdrop.icc, self.photo.icc)
            return composite.over(colours, alpha, behind)
        return composite.cutout(colours, alpha, keep_hidden_colours=options.keep_hidden_colours)

    def _blurred(self, sigma: float) -> NDArray[np.uint8]:
        """Return the photo's own background, blurred."""
        if self._options.canvas.canvas is None:
            return composite.blurred(self.photo.image, self.alpha, sigma)
        # The subject moves, so what is behind it shows: the colours around it.
        around = (self.alpha < _BEHIND).astype(np.float32)
        filled = fill_hidden(self.photo.image, around)
        return composite.blurred(filled, np.zeros_like(self.alpha), sigma)

    def _laid_out(
        self, colours: NDArray[np.uint8] | None
    ) -> tuple[NDArray[np.uint8] | None, NDArray[np.float32]]:
        """Return colours and alpha, placed on the canvas if the options name one."""
        options = self._options.canvas
        if options.canvas is None:
            return colours, self.alpha
        layout = lay_out(
            self.alpha,
            options.canvas,
            fill=options.fill or _FILL,
            position=options.position or Position(),
            enlarge=options.enlarge,
        )
        nothing = np.zeros((*self.alpha.shape, 3), np.uint8)
        return place(nothing if colours is None else colours, self.alpha, layout)

    def save(
        self,
        path: str | Path,
        *,
        format: str | None = None,
        quality: int | None = None,
        compression: int | None = None,
    ) -> None:
        """Write the product, whole or not at all; a file that exists is replaced.

        Args:
            path: The file; its ending names the format.
            format: "png", "webp", "tiff", "avif" or "jpg", if the ending doesn't.
            quality: Of lossy formats, 1 to 100.
            compression: Effort of lossless formats, 0 to 9.

        Raises:
            UsageError: The format isn't known.
            OutputError: The file can't be written.
        """
        kind = parse_format(format) if format else format_of(path)
        if kind is None:
            raise UsageError(
                "the ending names no format", path=path, remedy=f"use {' '.join(WRITTEN)}"
            )
        data = self.encoded(
            self.pixels(backdrop_of(self._options)), kind, quality=quality, compression=compression
        )
        Sink(overwrite=True).write(str(path), data)

    def encoded(
        self,
        pixels: NDArray[np.uint8],
        format: str,
        *,
        quality: int | None = None,
        compression: int | None = None,
    ) -> bytes:
        """Encode pixels made of this photo, with its ICC profile and DPI."""
        icc = self.photo.icc if pixels.ndim == 3 else None  # a mask isn't a colour
        return encode(
            pixels, format, icc=icc, dpi=self.photo.dpi, quality=quality, compression=compression
        )


def _colour(values: Sequence[int]) -> tuple[int, int, int]:
    """Check a colour that Python gave.

    Raises:
        UsageError: It isn't three numbers from 0 to 255.
    """
    if len(values) != 3 or not all(0 <= value <= 255 for value in values):
        raise UsageError(f"no colour: {tuple(values)} (give three numbers from 0 to 255)")
    red, green, blue = (int(value) for value in values)
    return red, green, blue


def _is_cut_out(own: NDArray[np.float32], saliency: NDArray[np.float32]) -> bool:
    """Tell whether a photo's own alpha is that of the subject which the map shows.

    Args:
        own: (H, W) in [0, 1].
        saliency: (s, s) in [0, 1].
    """
    if np.count_nonzero(own <= 0) < _CUT_AWAY * own.size:
        return False
    size = saliency.shape[::-1]
    small = cv2.resize(own, size, interpolation=cv2.INTER_AREA) > 0.5
    seen = saliency > 0.5
    return bool(np.count_nonzero(small & seen) >= _SAME * np.count_nonzero(small | seen))


def backdrop_of(options: RenderOptions) -> Frame | None:
    """Read the background picture that the options name.

    Raises:
        InputError: It can't be read.
    """
    if options.cutout.background_image is None:
        return None
    path = options.cutout.background_image
    try:
        data = read(str(path))
        return decode(data, max_pixels=InputOptions().max_pixels)
    except InputError as e:
        raise InputError(f"{printable(path)} (the background): {e}") from e
