"""The Python door: photos in, cutouts out."""

import os
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from u2cut.batch.stages import Ready, flow, worker_count
from u2cut.cutout import Cutout
from u2cut.describe import take
from u2cut.engines.predictor import Prediction, Predictor
from u2cut.errors import InputError, U2cutError, UsageError, printable
from u2cut.files.read import read
from u2cut.imaging.decode import Frame, decode
from u2cut.imaging.hidden import fill_hidden
from u2cut.imaging.metadata import read_metadata
from u2cut.imaging.pixels import to_rgb
from u2cut.options import (
    CanvasOptions,
    CutoutOptions,
    EdgeOptions,
    InputOptions,
    NetworkOptions,
    RenderOptions,
    RunOptions,
)

if TYPE_CHECKING:
    from PIL import Image

    Photo: TypeAlias = (
        Image.Image
        | NDArray[np.uint8 | np.uint16 | np.floating[Any]]
        | bytes
        | str
        | os.PathLike[str]
        | IO[bytes]
    )

_ORIENTATION, _SIDEWAYS = 0x112, range(5, 9)  # EXIF


class RemoverOptions(TypedDict, total=False):
    """The options of a ``Remover``; the defaults are those of the options classes."""

    weights: str | os.PathLike[str] | None
    offline: bool
    engine: Literal["auto", "torch", "openvino"]
    device: str
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"]
    batch_size: int | None
    size: int | None
    matting: Literal["none", "fast", "best"]
    zoom: bool | None
    threshold: float | None
    clean: bool
    largest: bool
    feather: float
    erode: int
    decontaminate: bool
    keep_hidden_colours: bool
    srgb: bool
    background: str | tuple[int, int, int] | None
    background_image: str | os.PathLike[str] | None
    background_blur: float | None
    crop: bool
    crop_margin: str | None
    canvas: str | None
    fill: str | float | None
    position: str | None
    enlarge: bool


class Remover:
    """Removes backgrounds; make one, use it for many photos, from any thread.

    Args:
        model: "auto" (``U2CUT_MODEL`` changes it), or a name that ``u2cut weights list`` shows.
        weights: A local weights file instead of ``model``.
        offline: Download nothing.
        engine: "auto", "torch" or "openvino".
        device: "auto", "cpu", "cuda", "cuda:N", "cuda:all" or "mps".
        precision: "auto", "fp32", "bf16", "fp16" or "int8".
        batch_size: Photos in a forward pass; None lets the engine choose.
        size: Side of the network's input in pixels; None is the weights' choice.
        matting: "none", "fast" or "best".
        zoom: Look at small subjects a second time; None: with ``matting="best"``.
        threshold: Makes the edge hard: opaque from this alpha on.
        decontaminate: Take the old background's colour out of the edge.
        keep_hidden_colours: Keep the photo's colours where the alpha is 0.
        srgb: Convert the colours to sRGB, instead of keeping the photo's own profile.
        clean: Remove specks and fill holes.
        largest: Keep the main subject only.
        feather: Soften the edge by this many pixels.
        erode: Move the edge inwards by this many pixels.
        background: A colour ("white", "#fff", "r,g,b" or RGB) that ``save`` puts the subject on.
        background_image: A picture to put it on instead.
        background_blur: Put it on the photo itself, blurred by this many pixels.
        crop: Crop what ``save`` writes to the subject.
        crop_margin: What that leaves around it: "20" pixels, or "5%" of its longer side.
        canvas: Place the subject on a canvas: "2000x2000", "4:5", "square" or "photo".
        fill: Share of it that the subject fills: "85%" or 0.85.
        position: Where it stands: "center", "bottom" or "50%,80%".
        enlarge: Let the subject grow beyond its own pixels.
        jobs: Threads of ``remove_many`` beside the caller's; None is one a core, up to 8.

    Raises:
        UsageError: A value is out of its limits, or options contradict each other.
        WeightsError: The weights are not available.
        DeviceError: The device, engine or precision is not available.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        jobs: int | None = None,
        **options: Unpack[RemoverOptions],
    ) -> None:
        given: dict[str, Any] = {**options, "jobs": jobs}
        if model is not None:
            given["model"] = model
        network = NetworkOptions(**take(given, NetworkOptions))
        edge, cutout = EdgeOptions(**take(given, EdgeOptions)), take(given, CutoutOptions)
        self._render = RenderOptions(
            edge=edge,
            cutout=CutoutOptions(**cutout),
            canvas=CanvasOptions(**take(given, CanvasOptions)),
        )
        self._workers = worker_count(RunOptions(jobs=given.pop("jobs")).jobs)
        if given:
            raise UsageError(f"a Remover has no option {printable(next(iter(given)))}")
        self._predictor = Predictor(network, method=edge.matting)
        self._predictor.engine  # noqa: B018  # what is missing is said now

    @property
    def model(self) -> str:
        """Name of the weights in use."""
        return self._predictor.model

    def remove(self, photo: "Photo") -> Cutout:
        """Find the subject of one photo.

        Args:
            photo: A Pillow image; an array, (H, W), (H, W, 3) RGB or (H, W, 4) RGBA, of uint8,
                uint16 (0 to 65535) or floats (0 to 1); a file's bytes, its path, or an open file
                (binary, from where it stands).

        Raises:
            InputError: It isn't a photo.
        """
        frame = frame_of(photo)
        fused = self._predictor.fused_map(frame.for_network)
        return Cutout(frame, fused, self._render, self._predictor)

    @overload
    def remove_many(
        self, photos: "Iterable[Photo]", *, errors: Literal["raise"] = "raise"
    ) -> Iterator[Cutout]: ...

    @overload
    def remove_many(
        self, photos: "Iterable[Photo]", *, errors: Literal["return"]
    ) -> Iterator[Cutout | U2cutError]: ...

    def remove_many(
        self, photos: "Iterable[Photo]", *, errors: Literal["raise", "return"] = "raise"
    ) -> Iterator[Cutout | U2cutError]:
        """Find the subjects of many photos; decoding, network and matting overlap.

        A bounded number of photos is held at any time, and cutouts come in the photos' order.

        Args:
            photos: See ``remove``; drawn from lazily.
            errors: "raise" stops at the first bad photo; "return" yields its error in its place.

        Raises:
            UsageError: ``photos`` is one path, or ``errors`` is neither of the two.
        """
        if isinstance(photos, str | bytes | os.PathLike):
            raise UsageError("remove_many takes several photos; give it a list, or use remove")
        if errors not in ("raise", "return"):
            raise UsageError(f"errors={printable(errors)}: give 'raise' or 'return'")

        def first(photo: "Photo") -> Ready[Frame]:
            frame = frame_of(photo)
            return Ready(frame, self._predictor.preprocess(frame.for_network))

        def last(_: "Photo", frame: Frame, prediction: Prediction | None) -> Cutout:
            assert prediction is not None
            cutout = Cutout(frame, prediction.fused, self._render, self._predictor)
            _ = cutout.foreground  # the work is done here, beside the network
            return cutout

        for _, outcome in flow(
            photos, first=first, predictor=self._predictor, last=last, workers=self._workers
        ):
            if isinstance(outcome, Cutout) or (
                errors == "return" and isinstance(outcome, U2cutError)
            ):
                yield outcome
            else:
                raise outcome


def frame_of(photo: "Photo") -> Frame:
    """Turn whatever stands for a photo into a frame.

    Raises:
        InputError: It isn't a photo.
    """
    if isinstance(photo, Frame):
        return photo
    if isinstance(photo, bytes | bytearray | memoryview):
        return decode(bytes(photo), max_pixels=InputOptions().max_pixels)
    if isinstance(photo, np.ndarray):
        return _frame_of_array(photo)
    if isinstance(photo, str | os.PathLike):
        path = os.fspath(photo)
        try:
            return decode(read(path), max_pixels=InputOptions().max_pixels)
        except InputError as e:
            raise InputError(str(e), path=path) from e
    from PIL import Image

    if isinstance(photo, Image.Image):
        return _frame_of_pillow(photo)
    if hasattr(photo, "read"):
        data = photo.read()
        if not isinstance(data, bytes):
            raise InputError("this file is open for text: open it with mode 'rb'")
        return decode(data, max_pixels=InputOptions().max_pixels)
    raise InputError(
        f"a {type(photo).__name__} isn't a photo: pass a Pillow image, an array, bytes, a path or "
        "an open file"
    )


def _frame_of_array(array: NDArray[Any]) -> Frame:
    shape = array.shape
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3, 4))):
        raise InputError(
            f"an array of shape {shape} isn't a photo: pass (H, W) grey, (H, W, 3) RGB or "
            "(H, W, 4) RGBA"
        )
    array = _eight_bits(array)
    if array.ndim == 2 or shape[2] == 1:
        array = np.repeat(array.reshape(*shape[:2], 1), 3, axis=2)
    alpha = None
    if array.shape[2] == 4:
        alpha = array[..., 3].astype(np.float32) / np.float32(255)
    # A copy: what the caller does to the array later must not reach a cutout.
    return Frame(_visible(array[..., :3].copy(), alpha), alpha)


def _eight_bits(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Bring an array to uint8: uint16 from its full range, floats from [0, 1].

    Raises:
        InputError: It is of another type, or of floats beyond [0, 1].
    """
    if array.dtype == np.uint8:
        same: NDArray[np.uint8] = array
        return same
    if array.dtype == np.uint16:
        sixteen: NDArray[np.uint32] = array.astype(np.uint32)
        return ((sixteen + 128) // 257).astype(np.uint8)
    if array.dtype.kind == "f":
        if not (np.min(array) >= 0 and np.max(array) <= 1):  # NaN, too
            raise InputError("an array of floats goes from 0 to 1: divide it by 255, or cast it")
        floats: NDArray[np.float64] = array.astype(np.float64)
        return np.rint(floats * 255).astype(np.uint8)
    raise InputError(
        f"an array of type {array.dtype} isn't a photo: pass uint8, uint16, or floats from 0 to 1"
    )


def _frame_of_pillow(image: "Image.Image") -> Frame:
    from PIL import ImageOps

    try:
        upright = ImageOps.exif_transpose(image)
        pixels = to_rgb(upright, image.info.get("icc_profile"))
    except (OSError, ValueError, SyntaxError) as e:  # Pillow decodes as late as here
        raise InputError(f"the picture can't be decoded ({e})") from e
    dpi = image.info.get("dpi")
    if dpi:
        dpi = tuple(map(float, dpi))
        if image.getexif().get(_ORIENTATION) in _SIDEWAYS:
            dpi = dpi[::-1]
    return Frame(
        _visible(pixels.rgb, pixels.alpha),
        pixels.alpha,
        pixels.icc,
        dpi,
        metadata=read_metadata(image),
    )


def _visible(image: NDArray[np.uint8], alpha: NDArray[np.float32] | None) -> NDArray[np.uint8]:
    return image if alpha is None else fill_hidden(image, alpha)
