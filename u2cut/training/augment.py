"""The changes made to a photo and its mask each time that they are shown.

Every change is drawn from the generator that is handed in, so a sample is a pure function of
the run's seed and the sample's number: workers, processes and resuming don't matter to it.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from u2cut.training.config import TrainConfig

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def view(rng: Generator, config: TrainConfig, size: int) -> Floats:
    """Draw the affine map from the network's input to a cached square of side ``size``.

    Without zoom, stretch and rotation it's a whole-pixel crop, and flips: the published training.

    Returns:
        (2, 3) float32, for ``cv2.warpAffine`` with ``WARP_INVERSE_MAP``.
    """
    out = config.input_size
    zoom = 1 + config.scale * rng.uniform(-1, 1)
    stretch = 1 + config.aspect * rng.uniform(-1, 1)
    angle = np.deg2rad(config.rotation * rng.uniform(-1, 1))
    steps = np.array([zoom * stretch, zoom / stretch]) * config.resize / size
    slack = np.abs(steps * size - out)
    offset = np.floor(rng.uniform(0, 1, 2) * (slack + 1)) - slack / 2
    flips = np.where(rng.uniform(0, 1, 2) < (config.hflip, config.vflip), -1.0, 1.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag(flips / steps)
    middle = np.full(2, (size - 1) / 2)
    shift = middle - linear @ (np.full(2, (out - 1) / 2) + offset)
    matrix: Floats = np.concatenate([linear, shift[:, None]], axis=1).astype(np.float32)
    return matrix


def warp(image: Bytes, matrix: Floats, size: int, border: int = cv2.BORDER_REFLECT_101) -> Bytes:
    """Show ``image`` through ``matrix`` in a square of side ``size``."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=border), np.uint8
    )


def plain_background(rng: Generator, size: int) -> Bytes:
    """Draw a studio ground: white, black or a colour, with a slow gradient, (S, S, 3)."""
    kind = rng.uniform()
    colour = np.full(3, 250.0) if kind < 0.5 else rng.uniform(0, 255, 3)
    if kind > 0.9:
        colour = rng.uniform(0, 30, 3)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    slope = rng.normal(0, 12, 2)
    light = (slope[0] * ramp[:, None] + slope[1] * ramp[None, :])[:, :, None]
    background: Bytes = np.clip(colour + light, 0, 255).astype(np.uint8)
    return background


def paste(subject: Bytes, mask: Bytes, background: Bytes, rng: Generator) -> Bytes:
    """Put a subject on another background; its edge is softened a little, as a lens would.

    Args:
        subject: RGB, (S, S, 3) uint8.
        mask: (S, S) uint8; where it's unknown the two are mixed.
        background: RGB, (S, S, 3) uint8.
        rng: Draws the softness.
    """
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), rng.uniform(0.3, 0.9))
    alpha = np.asarray(soft, np.float32)[:, :, None] / 255
    return (alpha * subject + (1 - alpha) * background + 0.5).astype(np.uint8)


def jitter_colour(image: Bytes, rng: Generator, strength: float) -> Bytes:
    """Change brightness, contrast, saturation and white balance in one linear map."""
    brightness, contrast, saturation = 1 + strength * rng.uniform(-1, 1, 3)
    if rng.uniform() < 0.1 * strength:
        saturation = 0.0
    balance = 1 + strength / 3 * rng.uniform(-1, 1, 3)
    grey = np.tile(_LUMA, (3, 1)) * (1 - saturation)
    linear = contrast * brightness * np.diag(balance) @ (np.eye(3) * saturation + grey)
    pivot = (1 - contrast) * float(image.mean())
    matrix = np.concatenate([linear, np.full((3, 1), pivot)], axis=1).astype(np.float32)
    return np.asarray(cv2.transform(image, matrix), np.uint8)  # saturates at 0 and 255


def _blur(image: Bytes, rng: Generator) -> Bytes:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.5)), np.uint8)


def _noise(image: Bytes, rng: Generator) -> Bytes:
    noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(2, 14)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _jpeg(image: Bytes, rng: Generator) -> Bytes:
    quality = int(rng.integers(20, 80))
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


_FAULTS: tuple[Callable[[Bytes, Generator], Bytes], ...] = (_blur, _noise, _jpeg)


def degrade(image: Bytes, rng: Generator) -> Bytes:
    """Apply one fault of real photos: blur, sensor noise or JPEG artefacts."""
    return _FAULTS[int(rng.integers(len(_FAULTS)))](image, rng)


def augment(
    photo: Bytes,
    mask: Bytes,
    valid: Bytes,
    *,
    background: Bytes | None,
    config: TrainConfig,
    rng: Generator,
) -> tuple[Bytes, Bytes, Bytes]:
    """Change a cached photo and its mask into what the network is shown.

    Args:
        photo: RGB, (S, S, 3) uint8.
        mask: (S, S) uint8.
        valid: (S, S) uint8.
        background: Another photo, (S, S, 3) uint8, to put the subject on; None keeps its own.
        config: The config.
        rng: Draws every change.

    Returns:
        Photo, mask and valid of the network's input size.
    """
    size, cached = config.input_size, photo.shape[0]
    matrix = view(rng, config, cached)
    # A pasted subject must not be mirrored beyond its photo's edge.
    border = cv2.BORDER_REFLECT_101 if background is None else cv2.BORDER_CONSTANT
    photo = warp(photo, matrix, size)
    mask = warp(mask, matrix, size, border)
    valid = warp(valid, matrix, size)
    if background is not None:
        plain = rng.uniform() < 0.25
        behind = (
            plain_background(rng, size)
            if plain
            else warp(background, view(rng, config, cached), size)
        )
        if not plain and rng.uniform() < 0.3:
            behind = np.asarray(cv2.GaussianBlur(behind, (0, 0), rng.uniform(1, 4)), np.uint8)
        photo = paste(photo, mask, behind, rng)
    if config.color_jitter:
        photo = jitter_colour(photo, rng, config.color_jitter)
    if config.degrade and rng.uniform() < config.degrade:
        photo = degrade(photo, rng)
    return photo, mask, valid
